package machine

import (
	"maps"
	"net/netip"
	"time"
)

// State is how far docker and the container are there. The words of a stopped
// container are docker's own.
type State string

// The states.
const (
	Running    State = "running"
	Absent     State = "absent" // docker, but no such container
	Exited     State = "exited"
	Restarting State = "restarting"
	Paused     State = "paused"
	Created    State = "created"
	NoDocker   State = "no docker"
	DaemonDown State = "daemon down" // the docker command is there, its daemon does not answer
	Hung       State = "hung"        // every docker command hangs
)

// Fault is something wrong with a container that runs, or with its instance.
type Fault uint

// The faults; they may be joined.
const (
	NoEnv          Fault = 1 << iota // no program env in the container
	NoPrintenv                       // no program printenv
	NoZero                           // env and printenv refuse -0
	IgnoresZero                      // env and printenv take -0 and write lines
	NoShell                          // no sh: secrets.d cannot be listed from within
	NoInspectEnv                     // docker inspect fails for the environment
	HungExec                         // docker exec hangs, docker inspect does not
	HungSecrets                      // only the look into secrets.d hangs
	RestartsInLook                   // the container restarts when its environment has been read
	RemovedInLook                    // it is gone by then
	StopsInLook                      // docker exec fails: it stopped after the first inspect
	CutEnv                           // env's output ends in the middle, with exit status 0
	SecretsNoDir                     // secrets.d is no directory
	SecretsPipe                      // a file of secrets.d, OPENAI_API_KEY, is a pipe
	NoIMDS                           // no metadata service
	StrangeIMDS                      // the metadata service answers what is no address
	NoTimeout                        // the instance has no program timeout
	NoHasher                         // nor one that hashes
	Warnings                         // docker writes warnings to stderr, always
)

// Host is what a machine is. The zero value of what is not given is the
// platform's usual.
type Host struct {
	State      State             // "": Running
	Faults     Fault             //
	Env        map[string]string // of the container, any bytes but NUL; PATH and HOME are there by themselves
	Secrets    map[string]string // files of SecretsDir, any bytes; nil: no such directory
	SecretsDir string            // "": /configs/secrets.d
	Container  string            // "": molecule-workspace

	StartedAt    time.Time // zero: docker's year 1
	Image        string
	RestartCount int
	PrivateIP    netip.Addr // zero: none
	PublicIP     netip.Addr

	Shell string // the container's, such as "busybox sh"; "": sh
	Path  string // a directory to go first on the PATH, before the stand-ins
}

func (h *Host) clone() Host {
	c := *h
	c.Env, c.Secrets = maps.Clone(h.Env), maps.Clone(h.Secrets)
	return c
}

func (h *Host) has(f Fault) bool { return h.Faults&f != 0 }

func (h *Host) hangs() bool { return h.State == Hung || h.has(HungExec|HungSecrets) }

func (h *Host) container() string {
	if h.Container == "" {
		return "molecule-workspace"
	}
	return h.Container
}

func (h *Host) secretsDir() string {
	if h.SecretsDir == "" {
		return "/configs/secrets.d"
	}
	return h.SecretsDir
}

func (h *Host) status() State {
	if h.State == "" {
		return Running
	}
	return h.State
}
