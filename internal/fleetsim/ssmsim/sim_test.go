package ssmsim_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type printer string

func (p printer) Run(context.Context, string, string) (string, int) { return string(p), 0 }

// plain hides WriteTo of the request's body: see observe/ssm, whole.
type plain struct{ *http.Client }

func (c plain) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.Client.Do(r)
}

// client speaks to a new endpoint; it repeats nothing.
func client(t *testing.T, opts ssmsim.Options) (*ssmsim.Sim, *ssm.Client) {
	t.Helper()
	if opts.Runner == nil {
		opts.Runner = printer("printed")
	}
	sim := ssmsim.New(opts)
	server := httptest.NewServer(sim)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		sim.Close()
	})
	return sim, ssm.New(ssm.Options{Region: "us-east-1", BaseEndpoint: aws.String(server.URL), HTTPClient: plain{&http.Client{Transport: transport}},
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""), Retryer: aws.NopRetryer{}})
}

func id(n int) string { s := strconv.Itoa(n); return "i-" + strings.Repeat("0", 17-len(s)) + s }

func list(n int) (ids []string) {
	for i := range n {
		ids = append(ids, id(i))
	}
	return ids
}

func send(ids ...string) *ssm.SendCommandInput {
	return &ssm.SendCommandInput{DocumentName: aws.String(ssmsim.RunShellScript), InstanceIds: ids, Parameters: map[string][]string{"commands": {"true"}}}
}

const document = `{"schemaVersion":"2.2","parameters":{"Key":{"type":"String","allowedPattern":"^[0-9]+$"}},
"mainSteps":[{"action":"aws:runShellScript","name":"x","inputs":{"runCommand":["echo {{ Key }}"]}}]}`

func TestRefusesWhatAWSRefuses(t *testing.T) {
	sim, api := client(t, ssmsim.Options{})
	for _, i := range list(60) {
		sim.Set(ssmsim.Instance{ID: i})
	}
	sim.Set(ssmsim.Instance{ID: id(7), Ping: "ConnectionLost"})
	if err := sim.Register("own", []byte(document)); err != nil {
		t.Fatal(err)
	}
	sending := func(change func(*ssm.SendCommandInput)) func() error {
		return func() error {
			in := send(id(1))
			change(in)
			_, err := api.SendCommand(t.Context(), in)
			return err
		}
	}
	own := func(parameters map[string][]string) func() error {
		return sending(func(in *ssm.SendCommandInput) { in.DocumentName, in.Parameters = aws.String("own"), parameters })
	}
	inventory := func(in *ssm.DescribeInstanceInformationInput) func() error {
		return func() error { _, err := api.DescribeInstanceInformation(t.Context(), in); return err }
	}
	for _, row := range []struct {
		rule string
		call func() error
		want string
	}{
		{"a good call", sending(func(*ssm.SendCommandInput) {}), ""},
		{"51 ids", sending(func(in *ssm.SendCommandInput) { in.InstanceIds = list(60)[8:59] }), "ValidationException"},
		{"an unknown id", sending(func(in *ssm.SendCommandInput) { in.InstanceIds = []string{id(1), id(99)} }), "InvalidInstanceId"},
		{"a lost instance", sending(func(in *ssm.SendCommandInput) { in.InstanceIds = list(10) }), "InvalidInstanceId"},
		{"nobody", sending(func(in *ssm.SendCommandInput) { in.InstanceIds = nil }), "ValidationException"},
		{"ids and a tag", sending(func(in *ssm.SendCommandInput) {
			in.Targets = []types.Target{{Key: aws.String("tag:a"), Values: []string{"b"}}}
		}), "ValidationException"},
		{"delivered in under 30 s", sending(func(in *ssm.SendCommandInput) { in.TimeoutSeconds = aws.Int32(29) }), "ValidationException"},
		{"an unknown document", sending(func(in *ssm.SendCommandInput) { in.DocumentName = aws.String("nobodys") }), "InvalidDocument"},
		{"a script without lines", sending(func(in *ssm.SendCommandInput) { in.Parameters = nil }), "InvalidParameters"},
		{"own document", own(map[string][]string{"Key": {"12"}}), ""},
		{"a value outside the pattern", own(map[string][]string{"Key": {"1; reboot"}}), "InvalidParameters"},
		{"a parameter that is not there", own(map[string][]string{"Key": {"1"}, "commands": {"reboot"}}), "InvalidParameters"},
		{"a missing parameter", own(nil), "InvalidParameters"},
		{"pages under 5", inventory(&ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(4)}), "ValidationException"},
		{"pages over 50", inventory(&ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(51)}), "ValidationException"},
		{"a filter of 101 values", inventory(&ssm.DescribeInstanceInformationInput{
			Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: list(101)}}}), "InvalidInstanceInformationFilterValue"},
		{"a filter of nothing known", inventory(&ssm.DescribeInstanceInformationInput{
			Filters: []types.InstanceInformationStringFilter{{Key: aws.String("Nonsense"), Values: list(1)}}}), "InvalidFilterKey"},
		{"a token of nobody's", inventory(&ssm.DescribeInstanceInformationInput{NextToken: aws.String("x")}), "InvalidNextToken"},
		{"an unknown command cancelled", func() error {
			_, err := api.CancelCommand(t.Context(), &ssm.CancelCommandInput{CommandId: aws.String(strings.Repeat("0", 36))})
			return err
		}, "InvalidCommandId"},
		{"an operation that is not played", func() error {
			_, err := api.ListDocuments(t.Context(), &ssm.ListDocumentsInput{})
			return err
		}, "UnknownOperationException"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			if got := code(row.call()); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestThrottlesWhatIsTooMuch(t *testing.T) {
	_, api := client(t, ssmsim.Options{Rate: map[string]float64{"ListCommands": 2}})
	var got []string
	for range 4 {
		_, err := api.ListCommands(t.Context(), &ssm.ListCommandsInput{})
		got = append(got, code(err))
	}
	if got[0] != "" || !slices.Contains(got, "ThrottlingException") {
		t.Errorf("answers: %q", got)
	}
}

func TestInventoryInPages(t *testing.T) {
	sim, api := client(t, ssmsim.Options{})
	for _, i := range list(23) {
		sim.Set(ssmsim.Instance{ID: i})
	}
	in, seen, pages := &ssm.DescribeInstanceInformationInput{}, map[string]bool{}, 0
	for {
		out, err := api.DescribeInstanceInformation(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, i := range out.InstanceInformationList {
			seen[aws.ToString(i.InstanceId)] = true
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(seen) != 23 || pages != 3 {
		t.Errorf("%d instances in %d pages, want 23 in 3: ten a page unless asked for more", len(seen), pages)
	}
}

// A command is first not shown, then in part, then whole, and its output cut.
func TestLateThenCut(t *testing.T) {
	sim, api := client(t, ssmsim.Options{Hide: 300 * time.Millisecond, Runner: printer(strings.Repeat("x", 3000))})
	for _, i := range list(4) {
		sim.Set(ssmsim.Instance{ID: i})
	}
	out, err := api.SendCommand(t.Context(), send(list(4)...))
	if err != nil {
		t.Fatal(err)
	}
	in := &ssm.ListCommandInvocationsInput{CommandId: out.Command.CommandId, Details: true}
	var sizes []int
	var last *ssm.ListCommandInvocationsOutput
	for deadline := time.Now().Add(10 * time.Second); len(sizes) == 0 || sizes[len(sizes)-1] < 4; {
		if last, err = api.ListCommandInvocations(t.Context(), in); err != nil || time.Now().After(deadline) {
			t.Fatalf("sizes %v, %v", sizes, err)
		}
		if n := len(last.CommandInvocations); len(sizes) == 0 || sizes[len(sizes)-1] != n {
			sizes = append(sizes, n)
		}
	}
	if sizes = slices.DeleteFunc(sizes, func(n int) bool { return n == 2 }); !slices.Equal(sizes, []int{0, 4}) { // a busy machine may miss the part
		t.Errorf("shown, parts left out, %v; want 0, 4", sizes)
	}
	printed := aws.ToString(last.CommandInvocations[0].CommandPlugins[0].Output)
	if len(printed) != 2500 || !strings.HasSuffix(printed, "---Output truncated---") {
		t.Errorf("output of %d bytes, ends %q", len(printed), printed[max(0, len(printed)-30):])
	}
}
