package objects_test

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog/objects"
)

// cloud is a queue and a bucket that speak the protocols of SQS and S3.
type cloud struct {
	*httptest.Server
	sleeps chan struct{} // closed when the test ends

	mu       sync.Mutex
	messages []*sent
	objects  map[string][]byte // by bucket/key
	calls    map[string]int
	dice     *rand.Rand
	percent  map[string]int // how often an operation fails; "cut": how often a body ends early; "twice": how often a message is delivered that others have
	slow     time.Duration  // pause in the middle of a body
	extended int
}

type sent struct {
	id, body string
	visible  time.Time
	received int
	deleted  bool
}

func newCloud(t testing.TB) *cloud {
	c := &cloud{sleeps: make(chan struct{}), objects: map[string][]byte{}, calls: map[string]int{}, dice: rand.New(rand.NewPCG(3, 4)), percent: map[string]int{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(func() { close(c.sleeps); c.Close() })
	return c
}

func (c *cloud) chance(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dice.IntN(100) < c.percent[what]
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	if operation == "" {
		operation = "GetObject"
	}
	c.mu.Lock()
	c.calls[operation]++
	c.mu.Unlock()
	if operation == "GetObject" {
		c.get(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if c.chance(operation) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"__type":"com.amazonaws.sqs#ServiceUnavailable","message":"no"}`)
		return
	}
	var in struct {
		ReceiptHandle     string
		VisibilityTimeout int
		WaitTimeSeconds   int
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return // the client was ended meanwhile
	}
	switch operation {
	case "ReceiveMessage":
		c.receive(w, r, in.VisibilityTimeout, in.WaitTimeSeconds)
	case "DeleteMessage":
		c.mu.Lock()
		c.of(in.ReceiptHandle).deleted = true
		c.mu.Unlock()
		fmt.Fprint(w, "{}")
		if c.chance("reported") { // it is done, and the answer is lost
			panic(http.ErrAbortHandler)
		}
	case "ChangeMessageVisibility":
		c.mu.Lock()
		c.of(in.ReceiptHandle).visible = time.Now().Add(time.Duration(in.VisibilityTimeout) * time.Second)
		c.extended++
		c.mu.Unlock()
		fmt.Fprint(w, "{}")
	default:
		panic("called: " + operation)
	}
}

func (c *cloud) of(receipt string) *sent {
	id, _, _ := strings.Cut(receipt, "#")
	n, err := strconv.Atoi(id)
	if err != nil {
		panic(err)
	}
	return c.messages[n]
}

func (c *cloud) receive(w http.ResponseWriter, r *http.Request, hidden, patience int) {
	for end := time.Now().Add(time.Duration(patience) * time.Second); ; {
		if m := c.next(hidden); m != nil {
			sum := md5.Sum([]byte(m["Body"].(string)))
			m["MD5OfBody"] = hex.EncodeToString(sum[:])
			_ = json.NewEncoder(w).Encode(map[string]any{"Messages": []any{m}})
			return
		}
		if time.Now().After(end) {
			fmt.Fprint(w, "{}")
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.sleeps:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// next takes any message that is visible, in no order, or one that is not.
func (c *cloud) next(hidden int) map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	twice := c.dice.IntN(100) < c.percent["twice"]
	for _, n := range c.dice.Perm(len(c.messages)) {
		m := c.messages[n]
		if !twice && (m.deleted || m.visible.After(time.Now())) {
			continue
		}
		m.received++
		m.visible = time.Now().Add(time.Duration(hidden) * time.Second)
		return map[string]any{"MessageId": m.id, "ReceiptHandle": fmt.Sprintf("%s#%d", m.id, m.received), "Body": m.body,
			"Attributes": map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.received), "SentTimestamp": strconv.FormatInt(time.Now().UnixMilli(), 10)}}
	}
	return nil
}

func (c *cloud) get(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	body, ok := c.objects[strings.TrimPrefix(r.URL.Path, "/")+versionOf(r)]
	slow := c.slow
	c.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>`)
		return
	}
	if c.chance("GetObject") {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
		return
	}
	sum := md5.Sum(body)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body[:len(body)/2])
	if c.chance("cut") {
		panic(http.ErrAbortHandler)
	}
	if slow > 0 {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(slow):
		case <-r.Context().Done():
		case <-c.sleeps:
		}
	}
	_, _ = w.Write(body[len(body)/2:])
}

func versionOf(r *http.Request) string {
	if v := r.URL.Query().Get("versionId"); v != "" {
		return "@" + v
	}
	return ""
}

// put writes an object; announce says so.
func (c *cloud) put(key string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects["logs/"+key] = body
}

func (c *cloud) send(body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = append(c.messages, &sent{id: strconv.Itoa(len(c.messages)), body: body})
}

// left is how many messages are not deleted.
func (c *cloud) left() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		if !m.deleted {
			n++
		}
	}
	return n
}

// clients are the SDK's own, without its pauses between tries where impatient.
func (c *cloud) clients(t testing.TB, impatient bool) *objects.Clients {
	t.Helper()
	clients, err := objects.Connect(t.Context(), objects.Account{Region: "eu-central-1", Endpoint: c.URL})
	if err != nil {
		t.Fatal(err)
	}
	if impatient {
		clients.SQS = sqs.New(clients.SQS.Options(), func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} })
		clients.S3 = s3.New(clients.S3.Options(), func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	}
	return clients
}

func record(key, version string) string {
	return fmt.Sprintf(`{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0","bucket":{"name":"logs","arn":"arn:aws:s3:::logs"},"object":{"key":%q,"size":1,"versionId":%q,"sequencer":"0"}}}`, key, version)
}

func event(records ...string) string { return `{"Records":[` + strings.Join(records, ",") + `]}` }

func wrapped(body string) string {
	b, err := json.Marshal(map[string]string{"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-central-1:0:t", "Message": body, "Signature": "x"})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func packed(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}
