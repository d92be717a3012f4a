// Package store is the reconciler's own PostgreSQL: what has been seen and told
// and what people have switched, so that a restart, a crash or another replica
// goes on where one ended.
//
// It promises: what a look changes is written in one transaction or not at all,
// and by nobody but the holder of the source's lease, however long a process was
// frozen in between. States are written when they change and only then. A
// workspace has at most one open drift. Events are only appended, and their
// numbers grow in the order in which they can be seen. Once a pause has been
// acknowledged, no action starts. All that expires goes by the database's clock.
//
// It never keeps anything in a session, so a pooler in transaction mode may be in
// between; only Listen needs a connection of its own, and those who use it poll
// as well. It never decides what a drift is, and it never prints its URL.
package store
