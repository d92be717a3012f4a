package config

import (
	"fmt"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Observe says how containers and traffic are looked at.
type Observe struct {
	// Time from one pass over a tenant to the next, jittered.
	Interval Duration `yaml:"interval" default:"5m" min:"1s"`
	// Tenants that are passed over at once.
	SourcesAtOnce int `yaml:"sources_at_once" default:"16" min:"1"`
	// When a pass over one tenant is given up; the next begins anew.
	PassTimeout Duration `yaml:"pass_timeout" default:"15m" min:"10s"`
	// From when on not having seen a container is a finding of its own.
	StaleAfter Duration `yaml:"stale_after" default:"15m" min:"1s"`
	// How AWS Systems Manager is used.
	SSM SSM `yaml:"ssm"`
	// How long after a container's start a call may still belong to its previous life.
	TrafficGrace Duration `yaml:"traffic_grace" default:"2m" min:"0s"`
	// Where the proxy's log lines come from. Each entry is one of file, push, kafka and sqs.
	Logs []Log `yaml:"logs"`
	// When billed calls from addresses that no workspace held are told of.
	Unattributed Unattributed `yaml:"unattributed"`
}

// Unattributed says when billed calls that are nobody's are told of.
type Unattributed struct {
	// More billed calls than this, and than one in a hundred of all, are told of; -1 is never.
	Above int `yaml:"above" default:"10" min:"-1"`
	// Within this time.
	Within Duration `yaml:"within" default:"1h" min:"5m"`
}

// SSM says how AWS Systems Manager is used.
type SSM struct {
	// Another endpoint than AWS's own, for tests and private links.
	Endpoint URL `yaml:"endpoint"`
	// Document to send: AWS-RunShellScript, or the name of the project's own.
	Document string `yaml:"document" default:"AWS-RunShellScript"`
	// Name of the workspace's container on its instance.
	Container string `yaml:"container" default:"molecule-workspace"`
	// Directory in the container with one file a secret.
	SecretsDir string `yaml:"secrets_dir" default:"/configs/secrets.d"`
	// How instances are addressed: instance_ids, or `{tag: "Name=value"}` with fewer calls.
	Targets Targets `yaml:"targets" default:"instance_ids"`
	// Calls a second of each operation, in one account, region and role; fewer while AWS throttles.
	Rate Rate `yaml:"rate" default:"5"`
	// Commands under way at once, of up to 50 instances each, in one account, region and role.
	InFlight int `yaml:"in_flight" default:"100" min:"1"`
	// How long to wait for more instances before a command that is not full is sent.
	Gather Duration `yaml:"gather" default:"2s" min:"0s" max:"1m"`
}

// Targets says how instances are addressed: by a tag, or by their ids where it
// has none.
type Targets struct {
	// A tag that every workspace's instance has, `Name=value`.
	Tag string `yaml:"tag"`
}

// Log is one source of the proxy's log lines: exactly one of its parts is set.
type Log struct {
	// Name of the input, in metrics, events and positions; once lines were counted under a name, another one counts them again. Default: the kind.
	Name string `yaml:"name"`
	// Without a line for so long the input counts as blind, which is told; 0s: it may be silent.
	SilentAfter Duration `yaml:"silent_after" default:"15m" min:"0s"`
	// Files on this machine.
	File *LogFile `yaml:"file" either:"yes"`
	// Lines pushed to the admin listener.
	Push *LogPush `yaml:"push" either:"yes"`
	// A topic with one line a message.
	Kafka *LogKafka `yaml:"kafka" either:"yes"`
	// Objects in S3 that a queue tells of, such as load balancers' logs.
	SQS *LogSQS `yaml:"sqs" either:"yes"`
}

// LogFile is a set of log files on this machine.
type LogFile struct {
	// Path or glob; .gz and .zst are read too.
	Path Path `yaml:"path" required:"true"`
	// Format of the lines; auto decides line by line.
	Format LogFormat `yaml:"format" default:"auto"`
	// Where to begin when the daemon reads here for the first time: at the beginning of what is there, or at its end.
	From LogFrom `yaml:"from" default:"beginning"`
	// Whose files they are. Default: this machine's host name. Give one name on every host that mounts the same files.
	Host string `yaml:"host"`
}

// LogPush is a receiver for NDJSON and raw lines, Loki's push and OTLP logs.
type LogPush struct {
	// Path on the admin listener for raw lines and NDJSON; Loki's and OTLP's have their own.
	Path string `yaml:"path" default:"/ingest" restart:"yes"`
	// Format of the lines; auto decides line by line.
	Format LogFormat `yaml:"format" default:"auto"`
}

// LogKafka is a Kafka topic.
type LogKafka struct {
	// Brokers to start from, each host:port.
	Brokers []Address `yaml:"brokers" required:"true"`
	// Topic with one line a message.
	Topic string `yaml:"topic" required:"true"`
	// Consumer group.
	Group string `yaml:"group" default:"reconciler"`
	// Format of the lines; auto decides line by line.
	Format LogFormat `yaml:"format" default:"auto"`
	// Where to begin in a partition that was never read: beginning or end.
	From LogFrom `yaml:"from" default:"beginning"`
	// Whether brokers are spoken to by TLS.
	TLS bool `yaml:"tls" default:"false"`
	// User of SASL SCRAM-SHA-512, where brokers ask for one.
	User string `yaml:"user"`
	// Its password.
	Password drift.Secret `yaml:"password"`
}

// LogSQS is a queue that tells of objects in S3.
type LogSQS struct {
	// URL of the queue that the bucket's notifications go to.
	Queue URL `yaml:"queue" required:"true"`
	// Region of queue and bucket.
	Region string `yaml:"region" required:"true"`
	// Role to assume.
	RoleARN string `yaml:"role_arn"`
	// Another endpoint than AWS's own, for both, for tests and private links.
	Endpoint URL `yaml:"endpoint"`
	// Format of the lines; auto decides line by line.
	Format LogFormat `yaml:"format" default:"alb"`
}

// The kinds of input.
const (
	InputFile  = "file"
	InputPush  = "push"
	InputKafka = "kafka"
	InputSQS   = "sqs"
)

// Kind is which part is set.
func (l *Log) Kind() string {
	switch {
	case l.File != nil:
		return InputFile
	case l.Push != nil:
		return InputPush
	case l.Kafka != nil:
		return InputKafka
	}
	return InputSQS
}

func (o *Observe) validate(fail failer) {
	named, pushes := map[string]bool{}, 0
	for i := range o.Logs {
		l := &o.Logs[i]
		if named[l.Name] && l.Name != "" {
			fail(fmt.Sprintf("logs[%d].name", i), fmt.Sprintf("a second input %q: give each a name of its own", l.Name))
		}
		named[l.Name] = true
		if l.Push != nil {
			if pushes++; pushes > 1 {
				fail(fmt.Sprintf("logs[%d].push", i), "a second one: there is one listener, which tells no two apart")
			}
		}
	}
	if o.StaleAfter.Duration < o.Interval.Duration {
		fail("stale_after", "shorter than interval: every workspace would be stale between two passes")
	}
}

func (l *Log) validate(fail failer) {
	if count(l.File != nil, l.Push != nil, l.Kafka != nil, l.SQS != nil) != 1 {
		fail("", "must be exactly one of file, push, kafka, sqs")
		return
	}
	if l.Name == "" {
		l.Name = l.Kind()
	}
}

func (l *LogPush) validate(fail failer) {
	if l.Path == "" || l.Path[0] != '/' {
		fail("path", "must begin with a slash, such as /ingest")
	}
}

func count(set ...bool) (n int) {
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}
