package report

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

func workspace(j *reconcile.Judged, opts Options) Workspace {
	w := j.Workspace
	out := Workspace{Source: w.Source, ID: w.ID, Name: w.Name, Runtime: w.Runtime, Status: w.Status,
		InstanceID: text(w.InstanceID), Desired: desired(&j.Desired), Findings: []Finding{}}
	if opts.DesiredOnly {
		return out
	}
	out.Observed = observed(opts.Policy, &j.Facts)
	out.ReadEndpoint = readEndpoint(j.ReadEndpoint)
	out.Traffic = traffic(opts.Policy, &j.Facts)
	out.Verdict = &j.Verdict
	for _, f := range j.Findings {
		out.Findings = append(out.Findings, toFinding(f))
	}
	out.Cause = cause(j.Causes)
	if j.Judgement.Rule != "" {
		out.Action = &Action{Rule: j.Judgement.Rule, Summary: j.Judgement.Words}
	}
	return out
}

func toFinding(f drift.Finding) Finding {
	return Finding{f.Kind, f.Severity, f.Summary, f.Remediable, append([]string{}, f.Evidence...)}
}

func desired(d *drift.Desired) Desired {
	return Desired{Mode: d.Mode, Source: d.Source, Provider: text(d.Provider), Model: text(d.Model), ModelFrom: text(d.ModelFrom),
		Override: text(string(d.Override)), Credential: cmp.Or(d.Supply, drift.SupplyNotNeeded), Error: text(d.Err),
		ReadPath: ReadPath{d.ReadPath.Mode, d.ReadPath.Source, text(d.ReadPath.Provider), text(d.ReadPath.Model), text(d.ReadPath.Err)}}
}

func observed(p *drift.Policy, f *drift.Facts) *Observed {
	o := &f.Observation
	out := &Observed{State: o.State.String(), Reason: o.Reason, At: moment(o.At), Mode: text(string(o.Mode())),
		Model: text(strings.TrimSpace(o.Model().Value)), BaseURLs: map[string]string{}, Credentials: []Credential{},
		ContainerStartedAt: moment(o.StartedAt), Image: text(o.Image),
		Addresses: append([]netip.Addr{}, o.Addresses...), EnvUnsafe: o.EnvUnsafe}
	if o.State == drift.Observed || !o.StartedAt.IsZero() {
		out.RestartCount = &o.RestartCount
	}
	for _, name := range []string{drift.VarAnthropicURL, drift.VarOpenAIURL, drift.VarProxyURL} {
		if v, ok := o.Variables[name]; ok {
			out.BaseURLs[name] = v.Value
		}
	}
	if at := f.AtProxy(p); at != drift.Unclear {
		yes := at == drift.Yes
		out.AtProxy = &yes
	}
	for _, c := range o.Credentials {
		if !c.Empty {
			out.Credentials = append(out.Credentials, Credential{c.Name, c.Where, p.Owner(f, c)})
		}
	}
	return out
}

func readEndpoint(r *drift.ReadEndpoint) (part Part[ReadEndpoint]) {
	switch {
	case r == nil:
	case r.Err != "":
		part.Error = r.Err
	default:
		part.Value = &ReadEndpoint{r.Mode, r.Source, text(r.Provider)}
	}
	return part
}

func traffic(p *drift.Policy, f *drift.Facts) (part Part[Traffic]) {
	t := f.Traffic
	switch {
	case t == nil:
	case t.Err != "":
		part.Error = t.Err
	default:
		part.Value = &Traffic{Billed: t.Billed, PastGrace: t.PastGrace, Rejected: t.Rejected, Since: moment(t.Since),
			First: moment(t.First), Last: moment(t.Last), Ambiguous: t.Ambiguous, CostUSD: t.CostUSD, Named: t.Named, Elsewhere: t.Elsewhere,
			InputTokens: t.InputTokens, OutputTokens: t.OutputTokens, BlindSince: moment(t.BlindSince), Words: drift.Witnesses(p, f)}
	}
	return part
}

func cause(causes []drift.Cause) *Cause {
	if len(causes) == 0 {
		return nil
	}
	out := &Cause{Code: causes[0].Code, Summary: causes[0].Summary}
	for _, c := range causes {
		out.Fits = append(out.Fits, Fit{c.Code, c.Summary})
	}
	return out
}

// text gives null for what is not there.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func errorText(err error) *string {
	if err == nil {
		return nil
	}
	return text(err.Error())
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
