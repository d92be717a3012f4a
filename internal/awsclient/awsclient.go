// Package awsclient prepares the SDK for an account: whose credentials, which
// region, whose endpoint. What is asked of AWS is others' business.
package awsclient

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// Account says which account and region to speak to, and as whom.
type Account struct {
	Region   string
	RoleARN  string // to assume; "": the process's own credentials, by the SDK's default chain
	Endpoint string // in place of AWS's own, for private links; on a loopback address a simulation, see isLoopback
}

// Load gives the configuration of clients. Nothing is called but what the
// default chain needs to find credentials.
func Load(ctx context.Context, account Account, options ...func(*config.LoadOptions) error) (aws.Config, error) {
	options = append([]func(*config.LoadOptions) error{config.WithRegion(account.Region), config.WithLogger(logging.Nop{})}, options...) // or it writes to the terminal
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, fmt.Errorf("aws credentials: %w", err)
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
	return cfg, nil
}

// BaseEndpoint is the account's endpoint for a client's options; nil: AWS's own.
func (a *Account) BaseEndpoint() *string {
	if a.Endpoint == "" {
		return nil
	}
	return aws.String(a.Endpoint)
}

// whole makes good for the SDK closing a request's body when the first byte of
// the answer is there: its WriteTo then gives io.EOF, which io.Copy takes for a
// failure, and net/http cuts the connection while the answer is being read. It
// happens with an endpoint that is faster than our own goroutines, one on this
// machine. Without WriteTo, Copy reads, and EOF is an end.
type whole struct{ aws.HTTPClient }

func (w whole) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return w.HTTPClient.Do(r)
}

// isLoopback tells whether an endpoint is on this machine. That is never AWS:
// it gets all calls, of the token service too, and no real credential.
func isLoopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && address.IsLoopback()
}
