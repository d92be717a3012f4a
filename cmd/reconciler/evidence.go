package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/evidence"
)

// evidenceFlags say what a document is verified by.
type evidenceFlags struct {
	verify, digest string
}

func (a *app) evidenceCommand() *cobra.Command {
	var f evidenceFlags
	cmd := &cobra.Command{
		Use:   "evidence ID | --verify FILE [--digest D]",
		Short: "all that is known of a drift, as one document that shows when it was changed",
		Long: `Writes the evidence of a drift, by its number, or of a workspace's last one: who paid
and who should have, for how long, the calls by the hour, tokens and cost as far as
they are known, what was done about it, and what was kept quiet about meanwhile. It is
JSON; its entries are chained by hashes, and the last is its digest.

--verify recomputes the chain of a document ("-": of stdin) and says which entry is
wrong. Who changes a document can make a whole new chain: keep the digest somewhere
else, and give it with --digest.

Exit status of --verify: 0 nothing is wrong, 1 something is.`,
		Example: `  reconciler evidence 6b66de8d > refund.json
  reconciler evidence --verify refund.json --digest 5f70bf18...`,
		Args: cobra.MaximumNArgs(1),
	}
	r := a.remote(cmd)
	cmd.Flags().StringVar(&f.verify, "verify", "", "recompute the chain of this `file`")
	cmd.Flags().StringVar(&f.digest, "digest", "", "with --verify: the `digest` that it should have")
	cmd.ValidArgsFunction = r.complete(r.episodes)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.oneOf("table", "json"); err != nil {
			return err
		}
		switch {
		case (len(args) == 1) == (f.verify != ""):
			return errors.New("evidence: name a drift or a workspace, or a file with --verify")
		case f.verify != "":
			return a.verify(cmd.InOrStdin(), &f)
		case f.digest != "":
			return errors.New("--digest is for --verify")
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error { return a.evidence(ctx, c, r, args[0]) })
	}
	return cmd
}

// episodes offers the numbers of open drifts, and workspaces.
func (r *remote) episodes(ctx context.Context, c *admin.Client, begun string) ([]string, error) {
	offers, err := r.openDrifts(ctx, c, begun)
	if err != nil {
		return nil, err
	}
	more, err := r.workspaces(ctx, c, begun)
	return append(offers, more...), err
}

func (a *app) evidence(ctx context.Context, c *admin.Client, r *remote, term string) error {
	doc, err := evidenceOf(ctx, c, r, term)
	if err != nil {
		return err
	}
	a.output = "json"
	return a.write(doc)
}

// evidenceOf takes digits for the number of a drift, and where there is no such
// drift for the beginning of an id.
func evidenceOf(ctx context.Context, c *admin.Client, r *remote, term string) (admin.Evidence, error) {
	if id, err := strconv.ParseInt(term, 10, 64); err == nil && id > 0 {
		doc, err := c.Evidence(ctx, id)
		var refused *admin.ProblemError
		if !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
			return doc, err
		}
		if _, none := c.Find(ctx, term, r.app.source); none != nil {
			return nil, err
		}
	}
	w, err := r.find(ctx, c, term)
	if err != nil {
		return nil, err
	}
	return c.WorkspaceEvidence(ctx, w.ID, w.Source)
}

func (a *app) verify(stdin io.Reader, f *evidenceFlags) error {
	text, err := readWhole(stdin, f.verify)
	if err != nil {
		return fmt.Errorf("--verify: %w", err)
	}
	v, err := evidence.Verify(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.verify, err)
	}
	if f.digest != "" && f.digest != v.Digest {
		v.Wrong = append(v.Wrong, evidence.Wrong{Words: "its digest is " + v.Digest + ", and not the one that was given: it is another document, or was changed and chained anew"})
	}
	if err := a.tellVerified(v, f); err != nil {
		return err
	}
	if len(v.Wrong) > 0 {
		return exitError(exitFailed)
	}
	return nil
}

func (a *app) tellVerified(v *evidence.Verified, f *evidenceFlags) error {
	if a.output == "json" {
		return a.write(v)
	}
	for _, w := range v.Wrong {
		where := "the document"
		if w.Entry > 0 {
			where = fmt.Sprintf("entry %d (%s)", w.Entry, w.Kind)
		}
		_, _ = fmt.Fprintln(a.stdout, a.term.paint(red, printable("wrong: "+where+": "+w.Words)))
	}
	if len(v.Wrong) > 0 {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%d entries follow one another; digest %s\n", v.Entries, v.Digest)
	if f.digest == "" && !a.quiet {
		_, _ = fmt.Fprintln(a.stderr, "that shows changes made without a new chain; --digest, with one that was kept elsewhere, shows all")
	}
	return err
}

// readWhole reads a file, or stdin where it is called "-".
func readWhole(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}
