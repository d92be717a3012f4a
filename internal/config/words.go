package config

// worded is a string that must be one of a few words.
type worded interface{ words() []string }

// Deployment is the kind of installation.
type Deployment string

func (Deployment) words() []string { return []string{"saas", "self_hosted"} }

// GlobalSecrets says whose the credentials in global_secrets are.
type GlobalSecrets string

// The owners of global_secrets.
const (
	GlobalsPlatform GlobalSecrets = "platform"
	GlobalsTenant   GlobalSecrets = "tenant"
)

func (GlobalSecrets) words() []string {
	return []string{string(GlobalsPlatform), string(GlobalsTenant)}
}

// RemediateMode says whether drift is mended.
type RemediateMode string

// The modes of remediation.
const (
	RemediateOff     RemediateMode = "off"
	RemediateDryRun  RemediateMode = "dry_run"
	RemediateEnforce RemediateMode = "enforce"
)

func (RemediateMode) words() []string {
	return []string{string(RemediateOff), string(RemediateDryRun), string(RemediateEnforce)}
}

// alias: YAML 1.1's boolean, as which an unquoted off may arrive.
func (RemediateMode) alias(word string) string {
	switch word {
	case "false", "False", "FALSE", "Off", "OFF":
		return string(RemediateOff)
	}
	return word
}

// LogFrom is where an input begins that was never read.
type LogFrom string

// The beginnings.
const (
	FromBeginning LogFrom = "beginning"
	FromEnd       LogFrom = "end"
)

func (LogFrom) words() []string { return []string{string(FromBeginning), string(FromEnd)} }

// LogFormat is a format of log lines.
type LogFormat string

func (LogFormat) words() []string { return []string{"auto", "combined", "json", "alb"} }

// Severity is the severity of a finding.
type Severity string

func (Severity) words() []string { return []string{"critical", "high", "medium", "low"} }

// Role is what a token allows.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleIngest   Role = "ingest"
)

func (Role) words() []string {
	return []string{string(RoleViewer), string(RoleOperator), string(RoleIngest)}
}
