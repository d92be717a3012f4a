package arch_test

// room is a package, or a tree of them where the path ends in "/...", and all
// that it may import besides the standard library. What is not in the table is
// not allowed, and a package that is not in it neither.
type room struct {
	path string
	why  string   // why it may know these and no more
	may  []string // rooms of ours, or paths of modules with what is in them
}

var rooms = []room{
	{"drift", "the words and the pure decisions: everyone may know it, it knows no one", nil},
	{"metrics", "every instrument in one place; only instruments, whose labels are drift's words", []string{"drift", "github.com/prometheus/client_golang"}},
	{"metrics/metricstest", "holds alert rules against an exposition, for tests; text in, complaints out", []string{"github.com/prometheus/common", "go.yaml.in/yaml/v4"}},

	{"desired", "what should be: reads the tenant's database and the registry, and knows nothing of what is", []string{
		"drift", "metrics", "github.com/jackc/pgx/v5", "go.yaml.in/yaml/v4", "golang.org/x/sync",
	}},
	{"desired/tenantschema", "a tenant's tables, for tests and the demo", []string{"drift", "github.com/jackc/pgx/v5"}},

	{"observe/probe", "the shell probe and its decoder; text in, facts out", []string{"drift"}},
	{"observe/ssm", "the one place that knows AWS Systems Manager", []string{
		"drift", "internal/awsclient", "metrics", "observe/probe", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go", "golang.org/x/sync", "golang.org/x/time",
	}},
	{"observe/proxylog", "log lines in, hits out", []string{
		"drift", "metrics", "github.com/klauspost/compress", "github.com/valyala/fastjson", "golang.org/x/sync",
	}},
	{"observe/proxylog/follow", "log files of this host, followed; lines in, batches out to whoever counts", []string{
		"observe/proxylog", "github.com/fsnotify/fsnotify", "github.com/klauspost/compress", "golang.org/x/sys",
	}},
	{"observe/proxylog/receive", "lines that are pushed over HTTP, in the forms of others; bodies in, batches out", []string{
		"observe/proxylog", "github.com/klauspost/compress", "go.opentelemetry.io/proto/otlp", "google.golang.org/protobuf",
	}},
	{"observe/proxylog/kafka", "a topic's partitions, read by a group; the one place that knows Kafka", []string{"observe/proxylog", "github.com/twmb/franz-go"}},
	{"observe/proxylog/objects", "objects in S3 that SQS tells of", []string{
		"internal/awsclient", "observe/proxylog", "github.com/aws/aws-sdk-go-v2",
	}},
	{"traffic", "counts batches for good and answers passes: it joins the log's words with our database", []string{
		"drift", "metrics", "observe/proxylog", "reconcile", "store", "golang.org/x/sync",
	}},
	{"platform", "the tenant's admin API; the only package that may change the outside world", []string{"drift", "metrics", "golang.org/x/time"}},
	{"notify", "who is told", []string{"drift", "metrics", "github.com/standard-webhooks/standard-webhooks/libraries"}},
	{"store", "our own PostgreSQL", []string{"drift", "github.com/jackc/pgx/v5", "github.com/pressly/goose/v3", "github.com/riverqueue/river"}},

	{"store/storetest", "state databases for tests", []string{"drift", "internal/localpg/pgtest", "store"}},

	{"reconcile", "the loop: it joins desired, observed and acting by interfaces of its own, never by their packages", []string{
		"drift", "metrics", "store", "golang.org/x/sync",
	}},
	{"report", "the documents of the contract: what a pass found, as JSON; no I/O of its own", []string{"drift", "reconcile"}},
	{"evidence", "the document that a refund is asked for with, and its chain of hashes; facts in, text out", []string{"drift", "store"}},
	{"admin", "HTTP API, page and client", []string{"drift", "evidence", "store", "reconcile", "report", "metrics", "github.com/danielgtaylor/huma/v2"}},

	{"deploy", "files to run it somewhere, embedded; no code", nil},

	{"internal/config", "the configuration; whoever needs a part of it is given that part", []string{"drift", "go.yaml.in/yaml/v4", "github.com/invopop/jsonschema", "github.com/fsnotify/fsnotify", "github.com/robfig/cron/v3"}},
	{"internal/sdnotify", "tells systemd how the daemon is; knows nothing of what it does", []string{"github.com/coreos/go-systemd/v22"}},
	{"internal/awsclient", "credentials, region and endpoint of an account; asks nothing of AWS itself", []string{"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"}},
	{"internal/localpg", "a private PostgreSQL; knows nothing of what it is for", []string{"github.com/jackc/pgx/v5", "github.com/fergusstrange/embedded-postgres"}},
	{"internal/localpg/pgtest", "databases for tests", []string{"internal/localpg", "go.uber.org/goleak"}},
	{"internal/tcpfault", "a TCP line that fails, for tests; carries bytes and knows no protocol", nil},
	{"internal/fleetsim/...", "a simulated fleet: speaks the protocols, and must not share code with what speaks them to it (observe, platform)", []string{
		"internal/fleetsim/...", "deploy", "desired", "desired/tenantschema", "drift", "internal/localpg", "github.com/jackc/pgx/v5", "github.com/google/uuid",
	}},
	{"internal/arch", "nothing but tests", nil},

	{"cmd/reconciler", "joins all of them", []string{
		"admin", "deploy", "desired", "desired/tenantschema", "drift", "evidence", "internal/config", "internal/fleetsim/...", "internal/localpg", "internal/sdnotify", "metrics", "notify", "observe/probe",
		"observe/proxylog", "observe/proxylog/follow", "observe/proxylog/kafka", "observe/proxylog/objects", "observe/proxylog/receive", "observe/ssm", "platform", "reconcile", "report", "store", "traffic",
		"github.com/jackc/pgx/v5", "github.com/prometheus/client_golang", "github.com/spf13/cobra", "go.yaml.in/yaml/v4", "golang.org/x/sync", "golang.org/x/term",
		"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go", // doctor names what AWS refused
		"github.com/google/uuid", // a replica's name for the others
	}},
}

// guarded are packages of the standard library that only some rooms may use,
// because of what they can do.
var guarded = []struct {
	path string
	why  string
	may  []string
}{
	{"net/http", "who can call out can change the world; law 4 counts on platform being alone, and the rest here only answers or asks", []string{
		"platform", "notify", "admin", "observe/ssm", "internal/awsclient", "observe/proxylog/receive", "observe/proxylog/objects", "internal/fleetsim/...", "cmd/reconciler",
	}},
	{"os/exec", "programs are run for the private PostgreSQL and the simulated machines alone", []string{"internal/localpg", "internal/fleetsim/..."}},
	{"database/sql", "pgx without the layer above it; a migration in Go is given one, and leaves it alone", []string{"store"}},
	{"unsafe", "nothing here needs it", nil},
	{"math/rand", "math/rand/v2, or crypto/rand for what must not be guessed", nil},
	{"log", "log/slog", nil},
}

// pure are packages that drift must not import: the same facts always give the
// same decisions.
var pure = []string{"context", "os", "io/fs", "net", "net/http", "database/sql", "math/rand", "math/rand/v2", "sync", "runtime", "os/exec", "path/filepath"}

// clocks are calls that drift must not make: it is told the time.
var clocks = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.NewTimer", "time.NewTicker", "time.Tick"}
