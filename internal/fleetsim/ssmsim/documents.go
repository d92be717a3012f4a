package ssmsim

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// document is an SSM document of schema version 2.2 with one shell step.
type document struct {
	SchemaVersion string `json:"schemaVersion"`
	Parameters    map[string]struct {
		AllowedPattern string `json:"allowedPattern"`
		Default        string `json:"default"`
	} `json:"parameters"`
	MainSteps []struct {
		Action string `json:"action"`
		Inputs struct {
			RunCommand []string `json:"runCommand"`
		} `json:"inputs"`
	} `json:"mainSteps"`
}

// Register makes a document known under a name.
func (s *Sim) Register(name string, content []byte) error {
	var d document
	if err := json.Unmarshal(content, &d); err != nil {
		return fmt.Errorf("register document %s: %w", name, err)
	}
	if d.SchemaVersion != "2.2" || len(d.MainSteps) != 1 || d.MainSteps[0].Action != "aws:runShellScript" {
		return fmt.Errorf("register document %s: not one aws:runShellScript step of schema version 2.2", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.documents[name] = d
	return nil
}

// script gives what a call runs.
func (s *Sim) script(in *sendInput) (string, *refusal) {
	if in.DocumentName == RunShellScript {
		return joined(in.Parameters)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, known := s.documents[in.DocumentName]
	if !known {
		return "", refuse("InvalidDocument", "Document with name "+in.DocumentName+" does not exist.")
	}
	return d.fill(in.Parameters)
}

var reference = regexp.MustCompile(`\{\{ *([A-Za-z:]+) *\}\}`)

// fill puts the parameters into their places. Braces that name no parameter are
// an error, as they are to AWS.
func (d *document) fill(given map[string][]string) (string, *refusal) {
	for name := range given {
		if _, known := d.Parameters[name]; !known {
			return "", refuse("InvalidParameters", name+": no such parameter")
		}
	}
	var problem *refusal
	script := reference.ReplaceAllStringFunc(strings.Join(d.MainSteps[0].Inputs.RunCommand, "\n"), func(match string) string {
		name := reference.FindStringSubmatch(match)[1]
		p, known := d.Parameters[name]
		value := p.Default
		if v := given[name]; len(v) == 1 {
			value = v[0]
		}
		if ok, err := regexp.MatchString(p.AllowedPattern, value); !known || err != nil || !ok {
			problem = refuse("InvalidParameters", name+": does not match "+p.AllowedPattern)
		}
		return value
	})
	return script, problem
}

func (s *Sim) describeDocument(body json.RawMessage) (any, *refusal) {
	var in struct{ Name string }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, refuse("SerializationException", err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.documents[in.Name]; !known && in.Name != RunShellScript {
		return nil, refuse("InvalidDocument", "Document with name "+in.Name+" does not exist.")
	}
	return map[string]any{"Document": map[string]string{"Name": in.Name, "Status": "Active"}}, nil
}

// serveSTS answers the two calls of the token service that the reconciler
// makes, in its older protocol.
func (s *Sim) serveSTS(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	action := r.PostForm.Get("Action")
	s.mu.Lock()
	s.calls[action]++
	n := s.calls[action]
	s.mu.Unlock()
	if s.opts.Fail != nil {
		if f := s.opts.Fail(action, n); f != nil {
			f.serveXML(w)
			return
		}
	}
	w.Header().Set("Content-Type", "text/xml")
	switch action {
	case "GetCallerIdentity":
		_, _ = fmt.Fprint(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:sts::000000000000:assumed-role/simulated/reconciler</Arn><UserId>simulated</UserId><Account>000000000000</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
	case "AssumeRole":
		_, _ = fmt.Fprint(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ASIASIMULATED</AccessKeyId><SecretAccessKey>simulated</SecretAccessKey><SessionToken>`)
		_ = xml.EscapeText(w, []byte(r.PostForm.Get("RoleArn")))
		_, _ = fmt.Fprint(w, `</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (f *Failure) serveXML(w http.ResponseWriter) {
	if f.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(f.Status)
	_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, f.Code, f.Message)
}
