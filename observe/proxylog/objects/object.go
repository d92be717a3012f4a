package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// batch reads an object, whole or not at all.
func (r *Reader) batch(ctx context.Context, o object) (*proxylog.Batch, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	in := &s3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key}
	if o.Version != "" {
		in.VersionId = &o.Version
	}
	out, err := r.S3.GetObject(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", o, err)
	}
	defer func() { _ = out.Body.Close() }()
	text := newPatient(out.Body, r.Stalled, func() { end(errStalled) })
	defer text.timer.Stop()
	tally := proxylog.NewTally(r.Tally)
	stats, err := proxylog.ReadStream(ctx, o.String(), text, proxylog.ReadOptions{Format: r.Format}, func(h *proxylog.Hit) {
		if tally.Add(h); tally.Len() > r.MaxGroups {
			end(fmt.Errorf("it has more than %d groups of calls by address and minute, and is counted as a whole or not at all: raise the limit, or let smaller ones be written", r.MaxGroups))
		}
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return nil, fmt.Errorf("read %s: %w", o, cause)
	}
	if err != nil {
		return nil, err
	}
	tally.Lines, tally.NotUnderstood = stats.Lines, stats.NotUnderstood
	version := o.Version
	if version == "" {
		// Of what was read, not of what the message told of: it may have been
		// written over meanwhile.
		version = strings.Trim(aws.ToString(out.ETag), `"`)
	}
	return &proxylog.Batch{Input: r.Input, ID: o.Bucket + "/" + o.Key + "@" + version, Tally: tally, Read: time.Now()}, nil
}

var errStalled = errors.New("nothing comes of the object any more")

// patient reads what may stop coming, for so long.
type patient struct {
	io.Reader
	timer *time.Timer
	limit time.Duration
}

func newPatient(r io.Reader, limit time.Duration, stalled func()) *patient {
	return &patient{r, time.AfterFunc(limit, stalled), limit}
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.timer.Reset(p.limit)
	return n, err
}
