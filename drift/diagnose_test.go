package drift_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// paper is a derivation small enough to see through: models that begin with
// "vendor" are a vendor's for every runtime but "odd"; "shared" is the vendor's
// only where its credential's name is present; "platform" is the platform's.
type paper struct{ all drift.Mode }

func (p paper) Inputs(w *drift.Workspace) drift.Inputs {
	in := drift.Inputs{Runtime: w.RuntimeOrDefault()}
	if w.Override != nil && drift.Mode(*w.Override).Recognised() {
		in.Override = drift.Mode(*w.Override)
	}
	for _, name := range []string{drift.KeyMoleculeModel, drift.KeyModel} {
		for _, rows := range [][]drift.StoredSecret{w.Secrets, w.Globals} {
			for _, s := range rows {
				if s.Key == name && in.Model == "" {
					in.Model = s.Value
				}
			}
		}
	}
	for _, rows := range [][]drift.StoredSecret{w.Secrets, w.Globals} {
		for _, s := range rows {
			if s.Key == "VENDOR_KEY" {
				in.AuthEnv = []string{s.Key}
			}
		}
	}
	return in
}

func (p paper) Resolve(in drift.Inputs) drift.Path {
	vendor := strings.HasPrefix(in.Model, "vendor") && in.Runtime != "odd" || in.Model == "shared" && slices.Contains(in.AuthEnv, "VENDOR_KEY")
	switch {
	case in.Override != "":
		return drift.Path{Mode: in.Override, Source: drift.FromOverride}
	case p.all != "":
		return drift.Path{Mode: p.all, Source: drift.FromProvider}
	case vendor:
		return drift.Path{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "vendor", Model: in.Model}
	}
	return drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromDefault, Model: in.Model}
}

func TestDiagnose(t *testing.T) {
	before, after := started.Add(-time.Hour), started.Add(time.Minute)
	for _, row := range []struct {
		name      string
		workspace drift.Workspace
		observed  drift.Mode
		past      drift.Past
		want      []drift.CauseCode
	}{
		{name: "the request carried no model", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "vendor-1", before)}},
			observed: "platform_managed", want: []drift.CauseCode{drift.ModelEmpty}},
		{name: "written after the start goes first", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "vendor-1", after)}},
			observed: "platform_managed", want: []drift.CauseCode{drift.StaleEnvironment, drift.ModelEmpty}},
		{name: "written after the start, but another key wins", workspace: drift.Workspace{Secrets: []drift.StoredSecret{
			secret("MODEL", "other", after), secret("MOLECULE_MODEL", "vendor-1", before)}},
			observed: "platform_managed", want: []drift.CauseCode{drift.ModelEmpty, drift.ModelFromOtherKey}},
		{name: "a global that the workspace overrides is no input", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "vendor-1", before)},
			Globals: []drift.StoredSecret{secret("MODEL", "vendor-2", after)}}, observed: "platform_managed", want: []drift.CauseCode{drift.ModelEmpty}},
		{name: "a global credential written after the start", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "shared", before)},
			Globals: []drift.StoredSecret{secret("VENDOR_KEY", "k", after)}}, observed: "platform_managed",
			want: []drift.CauseCode{drift.StaleEnvironment, drift.ModelEmpty, drift.AuthEnvMissing, drift.GlobalsIgnored}},
		{name: "a rotated credential that decides nothing is not the cause", workspace: drift.Workspace{Secrets: []drift.StoredSecret{
			secret("MODEL", "vendor-1", before), secret("VENDOR_KEY", "k", after)}}, observed: "platform_managed", want: []drift.CauseCode{drift.ModelEmpty}},
		{name: "override ignored", workspace: drift.Workspace{Override: ptr("byok"), Secrets: []drift.StoredSecret{secret("MODEL", "platform-1", after)}},
			observed: "platform_managed", want: []drift.CauseCode{drift.OverrideIgnored}},
		{name: "an earlier override", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "vendor-1", before)}},
			past: drift.Past{Overrides: []drift.Mode{"disabled"}}, observed: "disabled", want: []drift.CauseCode{drift.OverrideStale}},
		{name: "without history an earlier override is never guessed", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "vendor-1", before)}},
			observed: "disabled", want: []drift.CauseCode{drift.CauseUnknown}},
		{name: "the key that lost", workspace: drift.Workspace{Secrets: []drift.StoredSecret{
			secret("MODEL", "vendor-1", before), secret("MOLECULE_MODEL", "platform-1", before)}}, observed: "byok",
			want: []drift.CauseCode{drift.ModelFromOtherKey}},
		{name: "the store that lost", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "platform-1", before)},
			Globals: []drift.StoredSecret{secret("MODEL", "vendor-1", before)}}, observed: "byok", want: []drift.CauseCode{drift.ModelFromOtherKey}},
		{name: "no names of credentials", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "shared", before), secret("VENDOR_KEY", "k", before)}},
			observed: "platform_managed", want: []drift.CauseCode{drift.ModelEmpty, drift.AuthEnvMissing}},
		{name: "globals ignored", workspace: drift.Workspace{Globals: []drift.StoredSecret{secret("MODEL", "vendor-1", before)}},
			observed: "platform_managed", want: []drift.CauseCode{drift.ModelEmpty, drift.GlobalsIgnored}},
		{name: "another runtime", workspace: drift.Workspace{Runtime: ptr("odd"), Secrets: []drift.StoredSecret{secret("MODEL", "vendor-1", before)}},
			observed: "byok", want: []drift.CauseCode{drift.RuntimeDiffers}},
		{name: "the previous registry", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "platform-1", before)}},
			past: drift.Past{Previous: paper{all: "byok"}}, observed: "byok", want: []drift.CauseCode{drift.RegistryDiffers}},
		{name: "nothing explains it", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "platform-1", before)}},
			observed: "byok", want: []drift.CauseCode{drift.CauseUnknown}},
		{name: "nothing differs", workspace: drift.Workspace{Secrets: []drift.StoredSecret{secret("MODEL", "vendor-1", before)}}, observed: "byok"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := paper{}
			f := &drift.Facts{Workspace: &row.workspace, Observation: drift.Observation{State: drift.Observed, StartedAt: started,
				Variables: variables(drift.VarModeResolved, string(row.observed))}}
			in := d.Inputs(f.Workspace)
			f.Desired.Path = d.Resolve(in)
			f.Desired.ReadPath = f.Desired.Path
			if slices.ContainsFunc(f.Workspace.Secrets, func(s drift.StoredSecret) bool { return s.Key == "MOLECULE_MODEL" }) {
				f.Desired.ModelFrom = "workspace_secrets.MOLECULE_MODEL"
			}
			var got []drift.CauseCode
			for _, c := range drift.Diagnose(d, row.past, f, drift.Compare(policy(t, drift.OwnerCustomer), f)) {
				got = append(got, c.Code)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
		})
	}
}
