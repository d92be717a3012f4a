package admin

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// What holds of every schema, in requests too: a list is never null, and a key
// is written as it is named.
func init() {
	huma.DefaultArrayNullable = false
	huma.ValidateStrictCasing = true
}

// nulls are objects that may be null: a reference alone cannot say so.
var nulls = map[string][]string{
	"Workspace":         {"observed", "cause"},
	"DriftDetail":       {"at_opening", "latest"},
	"Reprovision":       {"answer"},
	"ReprovisionDetail": {"answer", "before", "after"},
	"Ramp":              {"stopped_by"},
	"SourceStatus":      {"surge"},
	"Status":            {"fleet_surge"},
}

// finish mends what reflection makes of our types.
func finish(api *huma.OpenAPI) {
	schemas := api.Components.Schemas.Map()
	for name, keys := range nulls {
		for _, key := range keys {
			schemas[name].Properties[key] = &huma.Schema{OneOf: []*huma.Schema{schemas[name].Properties[key], {Type: "null"}}}
		}
	}
	for name := range schemas {
		if strings.HasPrefix(name, "Part") {
			delete(schemas, name) // replaced by part
		}
	}
	for _, path := range api.Paths {
		for _, op := range []*huma.Operation{path.Post, path.Delete} {
			if op != nil && op.RequestBody != nil {
				delete(op.RequestBody.Content, "application/octet-stream") // which is how the raw body shows
			}
		}
	}
	look := api.Paths[base+"/workspaces/{id}/look"].Post.RequestBody
	look.Required = false // a reason is welcome, not demanded
}
