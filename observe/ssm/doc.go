// Package ssm looks into many instances at once through AWS Systems Manager:
// an inventory, one command for up to 50 instances or for all of a tag, and the
// collecting of what they printed.
//
// It answers for every instance that it was asked for, with an observation or
// with the reason why there is none; on throttling it waits, it never drops.
// What is sent and how an answer is read is its caller's: it knows no probe. It
// changes nothing, and what an instance printed goes to the caller's Decode and
// nowhere else: not into a reason, an error or a log.
package ssm
