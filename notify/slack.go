package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Slack posts to an incoming webhook: of what is new at once, a message a kind
// of event and cause, however many workspaces it concerns.
type Slack struct{ *client }

// NewSlack prepares to post; nothing is connected to.
func NewSlack(o Options) (*Slack, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	return &Slack{c}, nil
}

// slackWords are what Slack says where it does not take a message.
var slackWords = map[string]bool{
	"invalid_payload": true, "invalid_blocks": true, "invalid_token": true, "no_text": true, "no_service": true, "no_service_id": true, "no_team": true,
	"no_active_hooks": true, "team_disabled": true, "channel_not_found": true, "channel_is_archived": true, "action_prohibited": true,
	"posting_to_general_channel_denied": true, "user_not_found": true, "too_many_attachments": true, "rollup_error": true, "rate_limited": true,
}

// theme is what a message is about.
type theme struct {
	kind  drift.EventKind
	cause drift.CauseCode
}

func themeOf(n *drift.News) theme {
	t := theme{kind: n.Kind}
	if len(n.Causes) > 0 {
		t.cause = n.Causes[0].Code
	}
	return t
}

// Divide gives a message a theme, the worst first.
func (s *Slack) Divide(_ time.Time, news []drift.News) [][]drift.News {
	place := map[theme]int{}
	var messages [][]drift.News
	for i := range news {
		t := themeOf(&news[i])
		at, ok := place[t]
		if !ok {
			at = len(messages)
			place[t] = at
			messages = append(messages, nil)
		}
		messages[at] = append(messages[at], news[i])
	}
	slices.SortStableFunc(messages, func(a, b []drift.News) int { return cmp.Compare(rank(worst(a)), rank(worst(b))) })
	return messages
}

// rank orders severities, the worst first; none is last.
func rank(s drift.Severity) int {
	if at := slices.Index(drift.Severities, s); at >= 0 {
		return at
	}
	return len(drift.Severities)
}

// Slack's limits, in characters, and ours.
const (
	headerMost  = 150
	summaryMost = 300
	nameMost    = 60
	shownMost   = 5   // workspaces
	lineMost    = 550 // of one of them as it is sent; a section may have 3,000
)

// Post sends one message of Divide's.
func (s *Slack) Post(ctx context.Context, _ string, message []drift.News) error {
	body, err := json.Marshal(slackOf(message))
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return s.post(ctx, s.url, http.Header{"Content-Type": {contentJSON}}, body, slackWords)
}

// SlackMessage is the body of a message to an incoming webhook.
type SlackMessage struct {
	Text   string       `json:"text" jsonschema_description:"For notifications, where blocks are not shown."`
	Blocks []SlackBlock `json:"blocks"`
}

// SlackBlock is a block of Slack's Block Kit: header, section or context.
type SlackBlock struct {
	Type     string      `json:"type" jsonschema:"enum=header,enum=section,enum=context"`
	Text     *SlackText  `json:"text,omitempty"`
	Elements []SlackText `json:"elements,omitempty"`
}

// SlackText is a text object. Verbatim: what it says is not searched for
// channels, people and links.
type SlackText struct {
	Type     string `json:"type" jsonschema:"enum=plain_text,enum=mrkdwn"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"`
}

func slackOf(message []drift.News) SlackMessage {
	news := slices.Clone(message)
	slices.SortStableFunc(news, func(a, b drift.News) int { return cmp.Compare(rank(a.Severity), rank(b.Severity)) })
	title := titleOf(news)
	m := SlackMessage{Text: escape(title, headerMost), Blocks: []SlackBlock{{Type: "header", Text: &SlackText{Type: "plain_text", Text: clip(title, headerMost)}}}}
	var lines []string
	for i := range min(len(news), shownMost) {
		lines = append(lines, line(&news[i]))
	}
	if more := len(news) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more: `reconciler events`", more))
	}
	m.Blocks = append(m.Blocks, SlackBlock{Type: "section", Text: mrkdwn(strings.Join(lines, "\n"))})
	if t := themeOf(&news[0]); t.cause != "" {
		m.Blocks = append(m.Blocks, SlackBlock{Type: "section", Text: mrkdwn(escape("Cause: "+string(t.cause)+": "+news[0].Causes[0].Summary, lineMost))})
	}
	first, last := message[0].ID, message[len(message)-1].ID
	m.Blocks = append(m.Blocks, SlackBlock{Type: "context", Elements: []SlackText{*mrkdwn(fmt.Sprintf("%s, events %d to %d", bySeverity(news), first, last))}})
	return m
}

func mrkdwn(text string) *SlackText { return &SlackText{Type: "mrkdwn", Text: text, Verbatim: true} }

// titleOf says what happened to how many, and how bad it is.
func titleOf(news []drift.News) string {
	title := strings.ReplaceAll(string(news[0].Kind), "_", " ")
	if s := worst(news); s != "" {
		title = string(s) + ": " + title
	}
	if len(news) > 1 {
		title += fmt.Sprintf(" (%d)", len(news))
	}
	return title
}

// bySeverity counts, the worst first.
func bySeverity(news []drift.News) string {
	var parts []string
	for _, s := range append(slices.Clone(drift.Severities), "") {
		n := 0
		for i := range news {
			if news[i].Severity == s {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, cmp.Or(string(s), "of no severity")))
		}
	}
	return strings.Join(parts, ", ")
}

// line is one event.
func line(n *drift.News) string {
	var about []string
	for _, word := range []string{n.Source, n.Name, n.Workspace} {
		if word != "" {
			about = append(about, clip(word, nameMost))
		}
	}
	text := clip(n.Summary, summaryMost)
	if n.By != "" {
		text += " (by " + clip(n.By, nameMost) + ")"
	}
	if len(about) == 0 {
		return "• " + escape(text, lineMost)
	}
	who := escape(strings.ReplaceAll(strings.Join(about, " / "), "*", "∗"), lineMost/2)
	return "• *" + who + "* " + escape(text, lineMost/2)
}

var meaning = map[rune]string{'&': "&amp;", '<': "&lt;", '>': "&gt;"}

// escape keeps a text from meaning anything to Slack: names come from tenants,
// and one that is called <!channel> must not wake a channel. It becomes one line
// of so many characters at most as they are sent: one that is too long would
// have the whole message refused.
func escape(text string, most int) string {
	var b strings.Builder
	left := most - 1
	for _, r := range clip(text, most) {
		word := cmp.Or(meaning[r], string(r))
		if left -= utf8.RuneCountInString(word); left < 0 {
			return b.String() + "…"
		}
		b.WriteString(word)
	}
	return b.String()
}

// clip makes one line of a text, and shortens it to so many characters.
func clip(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
