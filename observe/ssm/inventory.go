package ssm

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// instance is what the inventory says of one; the zero value is not in it.
type instance struct {
	listed   bool
	online   bool
	ping     string
	lastPing time.Time
	address  netip.Addr
	platform string
}

// offline gives the observation of an instance that is not asked.
func (i instance) offline() drift.Observation {
	o := unreachable("not in the SSM inventory: stopped, terminated, or without a running SSM agent")
	if i.listed {
		o.Reason = "SSM agent: " + i.ping
		if !i.lastPing.IsZero() {
			o.Reason += ", last heard of at " + i.lastPing.UTC().Format(time.RFC3339)
		}
	}
	if i.platform != "" && i.platform != string(types.PlatformTypeLinux) {
		o = drift.Observation{State: drift.Unsupported, Reason: "platform " + i.platform}
	}
	return i.fill(o)
}

// fill adds what the inventory knows to an observation.
func (i instance) fill(o drift.Observation) drift.Observation {
	o.LastPing = i.lastPing
	if i.address.IsValid() && !slices.Contains(o.Addresses, i.address) {
		o.Addresses = append(slices.Clone(o.Addresses), i.address)
	}
	return o
}

// inventory asks for the instances by id, 50 a call and side by side. Those
// whose call failed are answered with the reason; halt hears of an error that
// all other calls would meet.
func (p *Pool) inventory(ctx context.Context, a *answers, ids []string, halt context.CancelCauseFunc) map[string]instance {
	known := make(map[string]instance, len(ids))
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(callers)
	for chunk := range slices.Chunk(ids, batchSize) {
		group.Go(func() error {
			p.inquire(ctx, chunk, func(chunk []string, found map[string]instance, err error) {
				if err != nil {
					why := reason(ctx, opInventory, "", err)
					if isFinal(err) {
						halt(halted(why))
					}
					a.giveUp(chunk, why)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(known, found)
			})
			return nil
		})
	}
	_ = group.Wait()
	return known
}

// inquire asks for some instances, and for parts of them where AWS objects to
// an id.
func (p *Pool) inquire(ctx context.Context, ids []string, told func([]string, map[string]instance, error)) {
	found, err := p.describe(ctx, ids)
	if one, other := split(ids, err); one != nil {
		p.inquire(ctx, one, told)
		p.inquire(ctx, other, told)
		return
	}
	told(ids, found, err)
}

func (p *Pool) describe(ctx context.Context, ids []string) (map[string]instance, error) {
	in := &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(pageSize),
		Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: ids}}}
	found := make(map[string]instance, len(ids))
	for {
		out, err := call(ctx, p, opInventory, func(ctx context.Context) (*ssm.DescribeInstanceInformationOutput, error) {
			return p.api.DescribeInstanceInformation(ctx, in)
		})
		if err != nil {
			return nil, err
		}
		for i := range out.InstanceInformationList {
			entry := &out.InstanceInformationList[i]
			found[aws.ToString(entry.InstanceId)] = read(entry)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil || *in.NextToken == "" {
			return found, nil
		}
	}
}

func read(entry *types.InstanceInformation) instance {
	i := instance{listed: true, ping: string(entry.PingStatus), lastPing: aws.ToTime(entry.LastPingDateTime), platform: string(entry.PlatformType)}
	i.online = entry.PingStatus == types.PingStatusOnline && (i.platform == "" || i.platform == string(types.PlatformTypeLinux))
	if address, err := netip.ParseAddr(aws.ToString(entry.IPAddress)); err == nil {
		i.address = address.Unmap()
	}
	return i
}
