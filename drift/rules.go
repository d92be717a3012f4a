package drift

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func modeMismatch(c *comparison) *Finding {
	has := c.Observation.Mode()
	if has == ModeUnknown || has == c.Desired.Mode {
		return nil // an image too old to say speaks by its routes alone
	}
	found := finding([]string{fmt.Sprintf("desired %s (%s)", c.Desired.Mode, c.Desired.Source), fmt.Sprintf("container says %s", has)},
		"the container is %s, it should be %s", has, c.Desired.Mode)
	if has == ModePlatformManaged && c.Desired.Mode == ModeBYOK {
		found.Severity = Critical
		found.Summary += ": the platform pays the customer's bill"
	}
	return found
}

// routes are the variables by which LLM clients find their endpoint.
var routes = []string{VarAnthropicURL, VarOpenAIURL}

func routedToProxy(c *comparison) *Finding {
	if !c.platformMustNotPay() {
		return nil
	}
	var names, seen []string
	for _, name := range routes {
		if v := c.variable(name); c.policy.AtProxy(v) == Yes {
			names, seen = append(names, name), append(seen, name+"="+v.Value)
		}
	}
	if names == nil {
		return nil
	}
	return finding(seen, "%s leads to the platform's proxy, though the mode should be %s", strings.Join(names, " and "), c.Desired.Mode)
}

// runtimeRoute is the base URL that a workspace's runtime uses; "" where the
// runtime is not known, since it may be either.
func (w *Workspace) runtimeRoute() string {
	switch w.RuntimeOrDefault() {
	case "":
		return ""
	case DefaultRuntime:
		return VarAnthropicURL
	}
	return VarOpenAIURL
}

func routedDirect(c *comparison) *Finding {
	if c.Desired.Mode != ModePlatformManaged {
		return nil
	}
	names := routes
	if r := c.Workspace.runtimeRoute(); r != "" {
		names = []string{r}
	}
	var seen []string
	for _, name := range names {
		v := c.variable(name)
		if c.policy.AtProxy(v) != No {
			return nil
		}
		seen = append(seen, name+"="+v.Value)
	}
	return finding(seen, "%s does not lead to the platform's proxy, though the platform should pay", strings.Join(names, " or "))
}

func credentialNotSupplied(c *comparison) *Finding {
	if c.Desired.Mode != ModeBYOK || c.Desired.Provider == "" || c.Desired.Supply != SupplyNone {
		return nil
	}
	return finding([]string{"provider " + c.Desired.Provider + " takes any of: " + strings.Join(c.Desired.AuthEnv, ", ")},
		"the customer has stored no credential that %s takes; only the customer can help", c.Desired.Provider)
}

func credentialNotDelivered(c *comparison) *Finding {
	if c.Desired.Mode != ModeBYOK || c.Desired.Provider == "" ||
		c.Desired.Supply != SupplyWorkspace && c.Desired.Supply != SupplyGlobal {
		return nil
	}
	seen := []string{fmt.Sprintf("stored by the customer (%s), taken by %s: %s", c.Desired.Supply, c.Desired.Provider, strings.Join(c.Desired.AuthEnv, ", "))}
	for _, cred := range c.Observation.Credentials {
		if cred.Empty || !slices.Contains(c.Desired.AuthEnv, cred.Name) {
			continue
		}
		owner := c.policy.Owner(c.Facts, cred)
		if owner == OwnerCustomer {
			return nil
		}
		seen = append(seen, fmt.Sprintf("%s is %s's", describe(cred), owner))
	}
	if len(seen) == 1 {
		seen = append(seen, "the container has none of them, in environment or secrets.d")
	}
	return finding(seen, "the customer's credential for %s did not reach the container", c.Desired.Provider)
}

func platformCredentialExposed(c *comparison) *Finding {
	if !c.platformMustNotPay() {
		return nil
	}
	var names, seen []string
	for _, cred := range c.Observation.Credentials {
		if cred.Empty || c.policy.Owner(c.Facts, cred) != OwnerPlatform {
			continue
		}
		seen = append(seen, describe(cred)+" is the platform's")
		if !slices.Contains(names, cred.Name) {
			names = append(names, cred.Name)
		}
	}
	if names == nil {
		return nil
	}
	slices.Sort(names)
	slices.Sort(seen)
	return finding(seen, "the container holds the platform's credential in %s", strings.Join(names, ", "))
}

func foreignCredential(c *comparison) *Finding {
	if c.Desired.Mode != ModePlatformManaged {
		return nil
	}
	var names, seen []string
	for _, cred := range c.Observation.Credentials {
		if cred.Empty || !c.policy.strips(cred.Name) || IsRoute(cred.Name) || cred.Name == KeyUsageToken ||
			isUsageToken(&c.Observation, cred.Fingerprint) {
			continue
		}
		seen = append(seen, describe(cred)+" is not the usage token")
		if !slices.Contains(names, cred.Name) {
			names = append(names, cred.Name)
		}
	}
	if names == nil {
		return nil
	}
	slices.Sort(names)
	slices.Sort(seen)
	return finding(seen, "the container of a platform-managed workspace holds a credential that the platform strips: %s", strings.Join(names, ", "))
}

func modelMismatch(c *comparison) *Finding {
	want := strings.TrimSpace(c.Desired.Model)
	has := c.Observation.Model()
	got := strings.TrimSpace(has.Value)
	switch {
	case want == "" || got == want || has.Cut && strings.HasPrefix(want, got):
		return nil
	case got == "" && c.Desired.Mode == ModeDisabled:
		return nil // without an LLM the platform owes the container no model
	}
	saw := "the container has none"
	if got != "" {
		saw = "the container has " + got
	}
	return finding([]string{fmt.Sprintf("desired %s (%s)", want, c.Desired.ModelFrom), saw}, "the model should be %s, %s", want, saw)
}

func proxyTraffic(c *comparison) *Finding {
	t := c.Traffic
	if t == nil || t.PastGrace == 0 || t.Since.IsZero() || !c.platformMustNotPay() {
		return nil // without the start of this life a call may be the last one's
	}
	evidence := []string{fmt.Sprintf("%d billed since %s, last %s", t.Billed, stamp(t.Since), stamp(t.Last)), c.confidence()}
	if words := Witnesses(c.policy, c.Facts); words != "" {
		evidence = append(evidence, words)
	}
	return finding(evidence,
		"%d billed %s went through the platform's proxy, though the mode should be %s", t.PastGrace, plural(t.PastGrace, "call"), c.Desired.Mode)
}

// confidence says how it is known whose the billed calls are.
func (c *comparison) confidence() string {
	t := c.Traffic
	switch t.Named {
	case 0:
		return "attributed by the address, which nobody else held at the time"
	case t.Billed:
		return "the lines themselves name the workspace"
	}
	return fmt.Sprintf("the lines of %d name the workspace, the others are attributed by the address, which nobody else held at the time", t.Named)
}

func pathsDiverge(c *comparison) *Finding {
	onPaper := difference("the provision path", c.Desired.Path, "the read path", c.Desired.ReadPath)
	if r := c.ReadEndpoint; r != nil && r.Err == "" {
		said := Path{Mode: r.Mode, Source: r.Source, Provider: r.Provider}
		paper := c.Desired.ReadPath
		if said.Source != FromProvider || paper.Source != FromProvider {
			said.Provider, paper.Provider = "", "" // elsewhere the platform answers the raw model id
		}
		onPaper = append(onPaper, difference("the read path", paper, "the platform's read endpoint", said)...)
	}
	if onPaper == nil {
		return nil
	}
	return finding(onPaper, "the platform disagrees with itself: %s", onPaper[0])
}

// difference says where two paths differ in mode or provider; nothing where
// one of them rests on inputs that we could not read.
func difference(nameA string, a Path, nameB string, b Path) []string {
	if a.Err != "" || b.Err != "" || a.Mode == b.Mode && a.Provider == b.Provider {
		return nil
	}
	return []string{fmt.Sprintf("%s gives %s, %s gives %s", nameA, a.Words(), nameB, b.Words())}
}

// Words says mode and provider in a few words.
func (p Path) Words() string {
	if p.Provider == "" {
		return string(p.Mode)
	}
	return fmt.Sprintf("%s (%s)", p.Mode, p.Provider)
}

func underivable(c *comparison) *Finding {
	d := c.Desired
	switch {
	case d.Source == FromDefault && d.Model != "":
		return finding(nil, "no provider of runtime %q takes the model %q: %s is only the deployment's default", c.Workspace.RuntimeOrDefault(), d.Model, d.Mode)
	case d.Source == FromFallback && (d.Model != "" || d.ModelFrom != ""):
		return finding([]string{d.Err}, "the inputs could not be read: %s is only the deployment's default", d.Mode)
	}
	return nil
}

func unobservedTooLong(c *comparison) *Finding {
	if c.Observation.State == Observed || c.Observation.State == NotRunning ||
		c.policy.StaleAfter <= 0 || c.Unseen <= c.policy.StaleAfter {
		return nil
	}
	return finding([]string{c.Observation.Reason}, "nothing has been learned of the container for %s", c.Unseen.Round(time.Second))
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "the beginning of the log"
	}
	return t.UTC().Format(time.RFC3339)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
