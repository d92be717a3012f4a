// Package objects reads the proxy's log lines from objects in S3, such as the
// access logs of a load balancer: the bucket's notifications go to a queue in
// SQS, and any number of replicas receive from it.
//
// It promises that every object is counted once, and as a whole: all its lines
// are one batch, whose id is the object's place and version (or ETag). So it is
// harmless that SQS delivers twice, out of order, or to two consumers at once,
// and that a message may come again after its object was counted. A message is
// deleted when all its objects are counted, and at no other time; what cannot be
// read or counted is left to be delivered again and, in the end, to the queue's
// own redrive policy. Memory is bounded by the calls' addresses and minutes, not
// by the length of an object.
//
// It needs this policy, besides the bucket's notifications to the queue (or to
// an SNS topic that the queue is subscribed to) for s3:ObjectCreated:*:
//
//	{"Version": "2012-10-17", "Statement": [
//	  {"Effect": "Allow", "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"], "Resource": "arn:aws:sqs:REGION:ACCOUNT:QUEUE"},
//	  {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": "arn:aws:s3:::BUCKET/*"},
//	  {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::BUCKET"}]}
//
// s3:ListBucket lets S3 say that an object is not there, which without it looks
// like a lack of rights. Objects under SSE-KMS need kms:Decrypt on the key, and
// a queue under it too. Where a role is assumed, sts:AssumeRole on it.
package objects
