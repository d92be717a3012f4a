// Package notify speaks to those who are told: webhooks, Slack and Alertmanager.
//
// A message may arrive twice, and says so by an id that stays the same. Nothing
// follows a redirect, nothing connects to a link-local address unless that is
// allowed, no answer is read for longer than it may be, and no error says where
// a message went beyond the host, nor anything of a secret. When and how often
// to post, and what has been told, others decide.
package notify
