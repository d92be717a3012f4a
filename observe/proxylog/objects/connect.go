package objects

import (
	"context"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/molecule-ai/billing-reconciler/internal/awsclient"
)

// Account says where queue and bucket are, and as whom they are asked.
type Account = awsclient.Account

// Clients are connections to an account.
type Clients struct {
	SQS *sqs.Client
	S3  *s3.Client
}

// answerWithin bounds the wait for an answer to begin. A receive may take 20 s
// when there is nothing; an object may take as long as it needs.
const answerWithin = 30 * time.Second

// Connect prepares the SDK's clients, with its standard retries. Nothing is
// called but what the default chain needs to find credentials.
func Connect(ctx context.Context, account Account) (*Clients, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = answerWithin })
	cfg, err := awsclient.Load(ctx, account, config.WithHTTPClient(client))
	if err != nil {
		return nil, err
	}
	toSQS := func(o *sqs.Options) {
		if base := account.BaseEndpoint(); base != nil {
			o.BaseEndpoint = base
		}
	}
	toS3 := func(o *s3.Options) {
		if base := account.BaseEndpoint(); base != nil {
			o.BaseEndpoint = base
			o.UsePathStyle = true // buckets have no names of their own there
		}
		o.DisableLogOutputChecksumValidationSkipped = true
	}
	return &Clients{sqs.NewFromConfig(cfg, toSQS), s3.NewFromConfig(cfg, toS3)}, nil
}
