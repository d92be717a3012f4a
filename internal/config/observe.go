package config

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
	// Where the proxy's log lines come from. Each entry is one of file, push and kafka.
	Logs []Log `yaml:"logs"`
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
	// Files on this machine.
	File *LogFile `yaml:"file" either:"yes"`
	// Lines pushed to the admin listener.
	Push *LogPush `yaml:"push" either:"yes"`
	// A topic with one line a message.
	Kafka *LogKafka `yaml:"kafka" either:"yes"`
}

// LogFile is a set of log files on this machine.
type LogFile struct {
	// Path or glob; .gz and .zst are read too.
	Path Path `yaml:"path" required:"true"`
	// Format of the lines; auto looks at the first of each file.
	Format LogFormat `yaml:"format" default:"auto"`
}

// LogPush is a receiver for NDJSON and raw lines, Loki's push and OTLP logs.
type LogPush struct {
	// Path on the admin listener.
	Path string `yaml:"path" default:"/ingest"`
}

// LogKafka is a Kafka topic.
type LogKafka struct {
	// Brokers to start from, each host:port.
	Brokers []Address `yaml:"brokers" required:"true"`
	// Topic with one line a message.
	Topic string `yaml:"topic" required:"true"`
	// Consumer group.
	Group string `yaml:"group" default:"reconciler"`
}

func (o *Observe) validate(fail failer) {
	if o.StaleAfter.Duration < o.Interval.Duration {
		fail("stale_after", "shorter than interval: every workspace would be stale between two passes")
	}
}

func (l *Log) validate(fail failer) {
	if count(l.File != nil, l.Push != nil, l.Kafka != nil) != 1 {
		fail("", "must be exactly one of file, push, kafka")
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
