// Package evidence makes one document of all that is known of a drift: who paid
// and who should have, for how long, for what, and what was done about it. It is
// what a refund is asked for with.
//
// It promises: the same facts give the same document, byte for byte, its time of
// making apart; whoever changes, adds, removes or moves an entry breaks the chain
// of hashes, or its end, which is the digest. What is not known is null, and
// never guessed. It never holds a secret's value: it is made of what our own
// database keeps, which has none.
//
// It does not prove who made a document, nor when: whoever holds one can make a
// whole new chain. The digest has to be kept where they cannot reach it.
package evidence
