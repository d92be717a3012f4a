package store

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// conditions are those of a WHERE, with their arguments.
type conditions struct {
	all  []string
	args []any
}

// add takes a condition, with $ for its one argument.
func (c *conditions) add(sql string, arg any) {
	c.args = append(c.args, arg)
	c.all = append(c.all, strings.ReplaceAll(sql, "$", "$"+strconv.Itoa(len(c.args))))
}

// plain takes a condition without an argument.
func (c *conditions) plain(sql string) { c.all = append(c.all, sql) }

func (c *conditions) sql() string {
	if len(c.all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.all, " AND ")
}

// likePrefix gives a LIKE pattern of what begins with s.
func likePrefix(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(s) + "%"
}

// cursor hides from users what a page ended with: they would come to build it.
func cursor(parts ...string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "\x1f")))
}

// uncursor is the way back.
func uncursor(text string, parts int) ([]string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if list := strings.Split(string(raw), "\x1f"); err == nil && len(list) == parts {
		return list, nil
	}
	return nil, invalid("the cursor %q is none that was given out: begin without one", text)
}

// before leaves out what a page that ended with a cursor, "" for none, has
// shown: rows go by falling numbers.
func (c *conditions) before(column, after string) error {
	if after == "" {
		return nil
	}
	parts, err := uncursor(after, 1)
	if err != nil {
		return err
	}
	last, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return invalid("the cursor %q is none that was given out: begin without one", after)
	}
	c.add(column+" < $::bigint", last)
	return nil
}
