package ssm

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// observation is what an invocation amounts to, and when it ended.
func observation(cmd Command, inv *types.CommandInvocation) drift.Observation {
	o := observed(cmd, inv)
	for i := range inv.CommandPlugins {
		if at := aws.ToTime(inv.CommandPlugins[i].ResponseFinishDateTime); !at.IsZero() {
			o.At = at.UTC()
		}
	}
	return o
}

// observed reads an invocation. What a failed command printed is nobody's to
// read: it may be anything.
func observed(cmd Command, inv *types.CommandInvocation) drift.Observation {
	details := aws.ToString(inv.StatusDetails)
	if details == "" {
		details = string(inv.Status)
	}
	switch {
	case inv.Status == types.CommandInvocationStatusSuccess && len(inv.CommandPlugins) > 0:
		return cmd.decode(aws.ToString(inv.CommandPlugins[0].Output))
	case inv.Status == types.CommandInvocationStatusSuccess:
		return unreachable("the command succeeded and left no output")
	case details == "InvalidPlatform":
		return drift.Observation{State: drift.Unsupported, Reason: "the document does not run on the instance's platform (InvalidPlatform)"}
	}
	words := statusWords[details]
	if words == "" {
		words = "the command did not succeed"
	}
	if inv.Status == types.CommandInvocationStatusFailed && len(inv.CommandPlugins) > 0 {
		words = fmt.Sprintf("%s, exit code %d", words, inv.CommandPlugins[0].ResponseCode)
	}
	return unreachable(words + " (" + details + ")")
}

// decode reads what an instance printed. Its owner may have made it print
// anything; should that find a hole in the decoder, the others are looked at all
// the same.
func (c *Command) decode(stdout string) (o drift.Observation) {
	defer func() {
		if recover() != nil { // not said: it may quote what was printed
			o = unreachable("its answer broke the decoder: please report this as a bug")
		}
	}()
	return c.Decode(stdout)
}

// statusWords says what a status means, by its details.
var statusWords = map[string]string{
	"Pending":           "the command was not started in time",
	"InProgress":        "the command did not end in time",
	"Delayed":           "the command could not be delivered in time",
	"Cancelled":         "the command was cancelled",
	"Cancelling":        "the command was cancelled",
	"TimedOut":          "the command was not delivered in time",
	"DeliveryTimedOut":  "the command was not delivered in time",
	"ExecutionTimedOut": "the command ran too long",
	"Failed":            "the command failed",
	"Undeliverable":     "the command could not be delivered: no such instance, or its agent does not answer",
	"Terminated":        "the command was ended before it reached the instance: too many errors elsewhere",
	"AccessDenied":      "the instance may not run the command: see its instance profile",
}
