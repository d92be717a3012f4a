package ssm

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/molecule-ai/billing-reconciler/internal/awsclient"
	"github.com/molecule-ai/billing-reconciler/metrics"
)

// Account says which account and region to speak to, and as whom.
type Account = awsclient.Account

// Client is a connection to an account.
type Client struct {
	*ssm.Client
	sts *sts.Client
}

// answerWithin bounds one attempt of a call: the SDK itself waits for ever for
// an answer on a connection that went dead.
const answerWithin = 30 * time.Second

// told makes an error of the credentials known as one.
type told struct{ aws.CredentialsProvider }

func (t told) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := t.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = credentialsError{err}
	}
	return found, err
}

// Connect prepares the SDK's client. Nothing is called but what the default
// chain needs to find credentials.
func Connect(ctx context.Context, account Account, m *metrics.Metrics) (*Client, error) {
	cfg, err := awsclient.Load(ctx, account, config.WithRetryer(newRetryer),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(answerWithin)), config.WithAPIOptions([]func(*middleware.Stack) error{counting(m)}))
	if err != nil {
		return nil, err
	}
	cfg.Credentials = told{cfg.Credentials}
	return &Client{ssm.NewFromConfig(cfg, func(o *ssm.Options) {
		if base := account.BaseEndpoint(); base != nil {
			o.BaseEndpoint = base
		}
	}), sts.NewFromConfig(cfg)}, nil
}

// Identity tells as whom AWS sees us: the ARN.
func (c *Client) Identity(ctx context.Context) (string, error) {
	out, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("aws identity: %w", err)
	}
	return aws.ToString(out.Arn), nil
}

// Document tells whether a document can be seen.
func (c *Client) Document(ctx context.Context, name string) error {
	if _, err := c.DescribeDocument(ctx, &ssm.DescribeDocumentInput{Name: aws.String(name)}); err != nil {
		return fmt.Errorf("%s", explain("DescribeDocument", name, err))
	}
	return nil
}

// newRetryer is the SDK's standard one, but for throttling: that is waited for
// by the pool's own limiter, which all callers share.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		throttling := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if isThrottle(err) {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{throttling}, o.Retryables...)
	})
}

// counting counts every attempt of every call, by operation and result.
func counting(m *metrics.Metrics) func(*middleware.Stack) error {
	count := middleware.DeserializeMiddlewareFunc("CountRequests", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		result := "ok"
		switch {
		case isThrottle(err):
			result = "throttled"
		case err != nil:
			result = "error"
		}
		m.AWSRequests.WithLabelValues(awsmiddleware.GetOperationName(ctx), result).Inc()
		return out, metadata, err
	})
	return func(stack *middleware.Stack) error { return stack.Deserialize.Add(count, middleware.Before) }
}
