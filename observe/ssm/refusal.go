package ssm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/aws/smithy-go"
)

// AWS's words for a call that it refuses, by what follows from them.
var (
	throttles = []string{"ThrottlingException", "Throttling", "RateExceeded", "RequestLimitExceeded", "TooManyRequestsException", "TooManyUpdates"}
	denials   = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
	strangers = []string{"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException",
		"IncompleteSignature", "SignatureDoesNotMatch", "OptInRequired"}
	documents = []string{"InvalidDocument", "InvalidDocumentVersion", "InvalidParameters"}
)

const (
	invalidInstance = "InvalidInstanceId"
	invalidFilter   = "InvalidInstanceInformationFilterValue"
)

func isThrottle(err error) bool { return slices.Contains(throttles, code(err)) }
func isDenial(err error) bool   { return slices.Contains(denials, code(err)) }

// code gives AWS's word for an error; "" where it is not AWS's.
func code(err error) string {
	if answered, ok := errors.AsType[smithy.APIError](err); ok {
		return answered.ErrorCode()
	}
	return ""
}

// isFinal tells whether an error would meet every other call of its kind too:
// the role, its credentials or the document must be mended, or AWS throttles
// for longer than anybody waits.
func isFinal(err error) bool {
	if _, ok := errors.AsType[credentialsError](err); ok {
		return true
	}
	c := code(err)
	return isThrottle(err) || isDenial(err) || slices.Contains(strangers, c) || slices.Contains(documents, c)
}

// credentialsError is a call that was never made for want of credentials.
type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

// words tells a role that cannot be assumed from credentials that are not there.
func (e credentialsError) words() string {
	if c := code(e.error); c != "" {
		return fmt.Sprintf("the role cannot be assumed (sts:AssumeRole: %s): its trust policy must name us, and our own policy allow it (role_arn)", c)
	}
	return fmt.Sprintf("no AWS credentials: %v", e.error)
}

// halted is why a look ends before its instances have answered.
type halted string

func (h halted) Error() string { return string(h) }

const interrupted = "interrupted before an answer came"

// ending says why ctx has ended.
func ending(ctx context.Context) string {
	if why, ok := errors.AsType[halted](context.Cause(ctx)); ok {
		return string(why)
	}
	return interrupted
}

func explain(operation, document string, err error) string {
	action, c := "ssm:"+operation, code(err)
	if missing, ok := errors.AsType[credentialsError](err); ok {
		return missing.words()
	}
	switch {
	case isThrottle(err):
		return fmt.Sprintf("AWS has throttled every call of %s for %s: something else uses up the account's limit", action, patience)
	case isDenial(err) && operation == opSend:
		return fmt.Sprintf("not allowed to call %s with the document %s: add both to the role's policy (deploy/ssm)", action, document)
	case isDenial(err):
		return fmt.Sprintf("not allowed to call %s: add it to the role's policy (deploy/ssm)", action)
	case slices.Contains(strangers, c):
		return fmt.Sprintf("AWS does not accept the credentials (%s)", c)
	case c == "InvalidDocument" || c == "InvalidDocumentVersion":
		return fmt.Sprintf("there is no document %s in this account and region: create it from deploy/ssm, or correct observe.ssm.document", document)
	case c == "InvalidParameters":
		return fmt.Sprintf("the document %s takes other parameters: render and update it (reconciler probe render --document)", document)
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return interrupted
	case c == "":
		return fmt.Sprintf("%s: %v", action, err)
	}
	return action + ": " + c
}

var anyInstance = regexp.MustCompile(`\bm?i-[0-9a-f]{8,17}\b`)

// blamed gives those of the batch whom AWS's words name.
func blamed(err error, batch []string) (named, others []string) {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return nil, batch
	}
	words := anyInstance.FindAllString(api.ErrorMessage(), -1)
	for _, id := range batch {
		if slices.Contains(words, id) {
			named = append(named, id)
		} else {
			others = append(others, id)
		}
	}
	return named, others
}

// isAboutInstances tells whether a call was refused for the sake of some of its
// instances. A role that is bound to a tag is denied the whole call for one
// instance without it.
func isAboutInstances(err error, batch []string) bool {
	named, _ := blamed(err, batch)
	c := code(err)
	return c == invalidInstance || c == invalidFilter || isDenial(err) && named != nil
}

// split parts a batch that was refused for the sake of some instance, so that
// the parts can be tried alone; nil where it cannot be parted or was refused
// for something else. Whom AWS names only says where to cut: what counts is
// what the part's own call says.
func split(batch []string, err error) (one, other []string) {
	if len(batch) < 2 || !isAboutInstances(err, batch) {
		return nil, nil
	}
	if one, other = blamed(err, batch); one == nil || other == nil {
		half := len(batch) / 2
		one, other = batch[:half:half], batch[half:]
	}
	return one, other
}
