package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/molecule-ai/billing-reconciler/internal/config"
)

// deployed loads a configuration of deploy/ as it is there, with its registry,
// and with these secrets in the place of a directory.
func deployed(t *testing.T, file, secretsAt string, secrets []string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	text := strings.ReplaceAll(read(t, file), secretsAt, dir+"/secrets/")
	more := map[string]string{"reconciler.yaml": text, "providers.yaml": read(t, "providers.example.yaml")}
	for _, s := range secrets {
		more["secrets/"+s] = "secret of " + s + "\n"
	}
	for name, text := range more {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "reconciler.yaml"), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(config.NeedAWS | config.NeedState); err != nil {
		t.Error(err)
	}
	var used []string
	for _, f := range c.Files() {
		if name, ok := strings.CutPrefix(f, dir+"/secrets/"); ok {
			used = append(used, name)
		}
	}
	slices.Sort(secrets)
	if diff := cmp.Diff(secrets, used); diff != "" {
		t.Errorf("secrets that are handed over and such as are read (-handed +read)\n%s", diff)
	}
	return c
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheUnitsConfigurationReadsItsCredentials(t *testing.T) {
	unit := read(t, "systemd/reconciler.service")
	var credentials []string
	for _, m := range regexp.MustCompile(`(?m)^LoadCredential=([^:]+):/etc/reconciler/secrets/(.+)$`).FindAllStringSubmatch(unit, -1) {
		if m[1] != m[2] {
			t.Errorf("the credential %s is the file %s: root's commands would not find it", m[1], m[2])
		}
		credentials = append(credentials, m[1])
	}
	c := deployed(t, "systemd/reconciler.yaml", "${CREDENTIALS_DIRECTORY}/", credentials)
	m := regexp.MustCompile(`(?m)^TimeoutStopSec=(.+)$`).FindStringSubmatch(unit)
	if patience := duration(t, m[1]); patience <= c.ShutdownGrace.Duration {
		t.Errorf("systemd kills after %s what may take %s to end", patience, c.ShutdownGrace)
	}
}

// compose is as much of a compose file as is held here.
type compose struct {
	Services map[string]struct {
		Secrets []string
		Grace   string `yaml:"stop_grace_period"`
		Volumes []any
		Ports   []string
	}
	Secrets map[string]struct{ File string }
}

func TestTheComposeFilesConfigurationReadsItsSecrets(t *testing.T) {
	var file compose
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	ours := file.Services["reconciler"]
	c := deployed(t, "compose/reconciler.yaml", "/run/secrets/", ours.Secrets)
	if patience := duration(t, ours.Grace); patience <= c.ShutdownGrace.Duration {
		t.Errorf("docker kills after %s what may take %s to end", patience, c.ShutdownGrace)
	}
	for name, service := range file.Services {
		for _, secret := range service.Secrets {
			if file.Secrets[secret].File != "./secrets/"+secret {
				t.Errorf("%s: the secret %s has no file", name, secret)
			}
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: the port %s is open to other machines", name, port)
			}
		}
		for _, volume := range service.Volumes {
			if bind, ok := volume.(map[string]any); ok {
				read := bind["read_only"]
				if _, err := os.Stat(filepath.Join("../../deploy", bind["source"].(string))); err != nil || read != true {
					t.Errorf("%s: %v, read only %v", bind["source"], err, read)
				}
			}
		}
	}
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := config.ParseDuration(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return d
}
