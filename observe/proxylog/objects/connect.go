package objects

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// Account says where queue and bucket are, and as whom they are asked.
type Account struct {
	Region   string
	RoleARN  string // to assume; "": the process's own credentials, by the SDK's default chain
	Endpoint string // of both in place of AWS's, for private links; on a loopback address a simulation, which gets no real credential
}

// Clients are connections to an account.
type Clients struct {
	SQS *sqs.Client
	S3  *s3.Client
}

// answerWithin bounds the wait for an answer to begin. A receive may take 20 s
// when there is nothing; an object may take as long as it needs.
const answerWithin = 30 * time.Second

// whole makes good for the SDK closing a request's body when the first byte of
// the answer is there: its WriteTo then gives io.EOF, which io.Copy takes for a
// failure, and net/http cuts the connection. Without WriteTo, EOF is an end.
type whole struct{ aws.HTTPClient }

func (w whole) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return w.HTTPClient.Do(r)
}

// Connect prepares the SDK's clients, with its standard retries. Nothing is
// called but what the default chain needs to find credentials.
func Connect(ctx context.Context, account Account) (*Clients, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = answerWithin })
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(account.Region), config.WithHTTPClient(client),
		config.WithLogger(logging.Nop{})) // or it writes to the terminal
	if err != nil {
		return nil, fmt.Errorf("aws credentials: %w", err)
	}
	cfg.HTTPClient = whole{cfg.HTTPClient}
	if isLoopback(account.Endpoint) {
		cfg.BaseEndpoint = aws.String(account.Endpoint)
		cfg.Credentials = credentials.NewStaticCredentialsProvider("simulated", "simulated", "")
	}
	if account.RoleARN != "" {
		provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), account.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "billing-reconciler"
		})
		cfg.Credentials = aws.NewCredentialsCache(provider)
	}
	toSQS := func(o *sqs.Options) {
		if account.Endpoint != "" {
			o.BaseEndpoint = aws.String(account.Endpoint)
		}
	}
	toS3 := func(o *s3.Options) {
		if account.Endpoint != "" {
			o.BaseEndpoint = aws.String(account.Endpoint)
			o.UsePathStyle = true // buckets have no names of their own there
		}
		o.DisableLogOutputChecksumValidationSkipped = true
	}
	return &Clients{sqs.NewFromConfig(cfg, toSQS), s3.NewFromConfig(cfg, toS3)}, nil
}

// isLoopback tells whether an endpoint is on this machine. That is never AWS.
func isLoopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && address.IsLoopback()
}
