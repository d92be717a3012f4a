package ssm_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
)

// fake is SSM within the process, for tests in which time matters: it takes
// latency for each call, and commands succeed after running.
type fake struct {
	latency time.Duration
	running time.Duration // 0: commands never end
	lag     time.Duration // invocations are shown as under way for that much longer
	all     []string      // whom a command by tag reaches
	refuse  func(operation string, ids []string) error

	mu        sync.Mutex
	sent      map[string]*flying
	calls     map[string][]time.Time
	most      int // commands under way at once
	cancelled int
}

type flying struct {
	ids       []string
	at        time.Time
	cancelled bool
}

func newFake() *fake {
	return &fake{latency: 100 * time.Millisecond, running: 2 * time.Second, sent: map[string]*flying{}, calls: map[string][]time.Time{}}
}

func refusal(code string) error { return &smithy.GenericAPIError{Code: code} }

// begin is the start of every call; the caller holds the lock afterwards.
func (f *fake) begin(ctx context.Context, operation string, ids []string) error {
	f.mu.Lock()
	f.calls[operation] = append(f.calls[operation], time.Now())
	f.mu.Unlock()
	select {
	case <-time.After(f.latency):
	case <-ctx.Done():
		f.mu.Lock()
		return ctx.Err()
	}
	var err error
	if f.refuse != nil {
		err = f.refuse(operation, ids)
	}
	f.mu.Lock()
	return err
}

func (f *fake) done(c *flying) bool {
	return c.cancelled || f.running > 0 && time.Since(c.at) >= f.running
}

func (f *fake) DescribeInstanceInformation(ctx context.Context, in *awsssm.DescribeInstanceInformationInput, _ ...func(*awsssm.Options)) (*awsssm.DescribeInstanceInformationOutput, error) {
	ids := in.Filters[0].Values
	err := f.begin(ctx, "DescribeInstanceInformation", ids)
	defer f.mu.Unlock()
	out := &awsssm.DescribeInstanceInformationOutput{}
	for _, id := range ids {
		out.InstanceInformationList = append(out.InstanceInformationList, types.InstanceInformation{InstanceId: aws.String(id), PingStatus: types.PingStatusOnline, PlatformType: types.PlatformTypeLinux})
	}
	return out, err
}

func (f *fake) SendCommand(ctx context.Context, in *awsssm.SendCommandInput, _ ...func(*awsssm.Options)) (*awsssm.SendCommandOutput, error) {
	err := f.begin(ctx, "SendCommand", in.InstanceIds)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("command-%d", len(f.sent))
	f.sent[id] = &flying{ids: in.InstanceIds, at: time.Now()}
	if len(in.Targets) > 0 {
		f.sent[id].ids = f.all
	}
	under := 0
	for _, c := range f.sent {
		if !f.done(c) {
			under++
		}
	}
	f.most = max(f.most, under)
	return &awsssm.SendCommandOutput{Command: &types.Command{CommandId: aws.String(id), RequestedDateTime: aws.Time(time.Now())}}, nil
}

func (f *fake) ListCommands(ctx context.Context, _ *awsssm.ListCommandsInput, _ ...func(*awsssm.Options)) (*awsssm.ListCommandsOutput, error) {
	err := f.begin(ctx, "ListCommands", nil)
	defer f.mu.Unlock()
	out := &awsssm.ListCommandsOutput{}
	for id, c := range f.sent {
		status := types.CommandStatusInProgress
		if f.done(c) {
			status = types.CommandStatusSuccess
		}
		out.Commands = append(out.Commands, types.Command{CommandId: aws.String(id), Status: status, TargetCount: int32(len(c.ids))})
	}
	return out, err
}

func (f *fake) ListCommandInvocations(ctx context.Context, in *awsssm.ListCommandInvocationsInput, _ ...func(*awsssm.Options)) (*awsssm.ListCommandInvocationsOutput, error) {
	err := f.begin(ctx, "ListCommandInvocations", nil)
	defer f.mu.Unlock()
	out := &awsssm.ListCommandInvocationsOutput{}
	c := f.sent[aws.ToString(in.CommandId)]
	for _, id := range c.ids {
		inv := types.CommandInvocation{InstanceId: aws.String(id), Status: types.CommandInvocationStatusInProgress}
		if f.done(c) && time.Since(c.at) >= f.running+f.lag {
			inv.Status = types.CommandInvocationStatusSuccess
			inv.CommandPlugins = []types.CommandPlugin{{Output: aws.String("good")}}
		}
		out.CommandInvocations = append(out.CommandInvocations, inv)
	}
	return out, err
}

func (f *fake) CancelCommand(ctx context.Context, in *awsssm.CancelCommandInput, _ ...func(*awsssm.Options)) (*awsssm.CancelCommandOutput, error) {
	err := f.begin(ctx, "CancelCommand", nil)
	defer f.mu.Unlock()
	if err == nil {
		f.sent[aws.ToString(in.CommandId)].cancelled = true
		f.cancelled++
	}
	return &awsssm.CancelCommandOutput{}, err
}
