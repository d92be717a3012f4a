package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
)

// remote is how a command reaches the daemon: which server, and as whom.
type remote struct {
	app               *app
	server, tokenFile string
	ca, cert, key     string

	serverFrom, tokenFrom string // in words, for errors
}

// remote gives a command the flags that reach the daemon.
func (a *app) remote(cmd *cobra.Command) *remote {
	r := &remote{app: a}
	flags := cmd.Flags()
	flags.StringVar(&r.server, "server", "", "`URL` of the daemon (default $RECONCILER_SERVER, else admin.listen of the configuration)")
	flags.StringVar(&r.tokenFile, "token-file", "", "`file` with the token (default $RECONCILER_TOKEN, else the first operator's of the configuration)")
	flags.StringVar(&r.ca, "ca", "", "PEM `file` with the authority of the daemon's certificate (default the system's)")
	flags.StringVar(&r.cert, "client-cert", "", "PEM `file` with a client certificate, where the daemon demands one")
	flags.StringVar(&r.key, "client-key", "", "PEM `file` with its key")
	return r
}

// client prepares to ask the daemon. It connects to nothing.
func (r *remote) client() (*admin.Client, error) {
	cfg, _ := r.app.load() // what is wrong with it, the daemon says; here its address and token are enough
	server := r.address(cfg)
	token, err := r.token(cfg)
	if err != nil {
		return nil, err
	}
	c, err := admin.NewClient(admin.ClientOptions{Server: server, Token: token, CA: r.ca, Cert: r.cert, Key: r.key})
	if err != nil {
		return nil, fmt.Errorf("%w (from %s)", err, r.serverFrom)
	}
	return c, nil
}

const defaultServer = "http://127.0.0.1:8080"

func (r *remote) address(cfg *config.Config) string {
	if r.server != "" {
		r.serverFrom = "--server"
		return r.server
	}
	if server, _ := r.app.env("RECONCILER_SERVER"); server != "" {
		r.serverFrom = "$RECONCILER_SERVER"
		return server
	}
	if cfg == nil || cfg.Admin.Listen == "" {
		r.serverFrom = "the default, since " + r.app.configFile() + " cannot be read"
		return defaultServer
	}
	r.serverFrom = "admin.listen of " + r.app.configFile()
	scheme := "http://"
	if cfg.Admin.TLS != nil {
		scheme = "https://"
	}
	return scheme + reachable(string(cfg.Admin.Listen))
}

// reachable is an address that leads to what listens on one: all addresses of a
// machine are no address to go to.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && addr.Is4() && addr.IsUnspecified():
		host = "127.0.0.1"
	case err == nil && addr.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

func (r *remote) token(cfg *config.Config) (drift.Secret, error) {
	if r.tokenFile != "" {
		r.tokenFrom = "the token in " + r.tokenFile
		text, err := os.ReadFile(r.tokenFile)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if token == "" {
			return "", fmt.Errorf("--token-file %s: it is empty", r.tokenFile)
		}
		return drift.Secret(token), nil
	}
	if token, _ := r.app.env("RECONCILER_TOKEN"); token != "" {
		r.tokenFrom = "the token in $RECONCILER_TOKEN"
		return drift.Secret(token), nil
	}
	if cfg != nil {
		for _, t := range cfg.Admin.Tokens {
			if string(t.Role) == string(admin.Operator) && t.Token != "" {
				r.tokenFrom = fmt.Sprintf("the token %s of %s", t.Name, r.app.configFile())
				return t.Token, nil
			}
		}
	}
	r.tokenFrom = "no token"
	return "", nil
}

// do runs a command's conversation with the daemon. Its errors say who was
// asked and as whom, since each may come from three places.
func (r *remote) do(ctx context.Context, talk func(context.Context, *admin.Client) error) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return r.explained(c, talk(ctx, c))
}

func (r *remote) explained(c *admin.Client, err error) error {
	var refused *admin.ProblemError
	var lost *net.OpError
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &refused):
		return fmt.Errorf("%s answered %w\n  (address from %s; sent %s)", c.URL(), err, r.serverFrom, r.tokenFrom)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: nothing listens there; start `reconciler run`, or name another with --server\n  (address from %s)", c.URL(), r.serverFrom)
	case errors.As(err, &lost):
		return fmt.Errorf("%w\n  (address from %s)", err, r.serverFrom)
	}
	return err
}

var wholeID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// find turns what a person typed into one workspace. A whole id is taken as it
// is: what is gone may still be resumed.
func (r *remote) find(ctx context.Context, c *admin.Client, term string) (*admin.WorkspaceName, error) {
	if wholeID.MatchString(term) {
		return &admin.WorkspaceName{ID: strings.ToLower(term), Source: r.app.source}, nil
	}
	return c.Find(ctx, term, r.app.source)
}

// completionTimeout is how long a shell may hang on a key.
const completionTimeout = 2 * time.Second

// complete offers what the daemon knows to the shell.
func (r *remote) complete(offer func(context.Context, *admin.Client, string) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		c, err := r.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		offers, err := offer(ctx, c, toComplete)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

// workspaces offers ids, with names and sources beside them.
func (r *remote) workspaces(ctx context.Context, c *admin.Client, begun string) ([]string, error) {
	names, err := c.Names(ctx, begun, r.app.source)
	var offers []string
	for _, w := range names {
		offers = append(offers, w.ID+"\t"+printable(w.Name)+", "+w.Source)
	}
	return offers, err
}

// completeFlag offers what the daemon knows as a flag's value.
func (r *remote) completeFlag(cmd *cobra.Command, flag string, offer func(context.Context, *admin.Client, string) ([]string, error)) {
	if err := cmd.RegisterFlagCompletionFunc(flag, r.complete(offer)); err != nil {
		panic(err) // no such flag: a slip in this program
	}
}

// words is the text of a list of named words, for flags' completion.
func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

// ago says how long something has been, as short as a person would.
func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	return span(now.Sub(*t)) + " ago"
}

// span is a length of time in its two largest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(0, d); {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d < day:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}

// deref is the value, or its zero where there is none.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
