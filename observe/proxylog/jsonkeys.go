package proxylog

import "encoding/binary"

// slot is a fact that a JSON line may hold under one of many names.
type slot uint8

const (
	slotNone slot = iota
	slotPeer
	slotClient
	slotForwarded
	slotMethod
	slotTarget
	slotLine // a whole request line: "POST /x HTTP/1.1"
	slotStatus
	slotTime
	slotWorkspace
	slotModel
	slotInput
	slotOutput
	slotCost // in US dollars
	slots
)

// place is where in a line's object a key stands: names mean something in some
// objects only.
type place uint8

const (
	inTop place = iota
	inRequest
	inResponse
	inHeaders // the request's
	inUsage
	inUnknown // an object that means nothing to us
)

// key is what a name means: a fact, or (enter) an object to look into. Where a
// line has several names of one fact the highest rank counts, wherever in the
// line it stands; of one name given twice the last counts, as in encoding/json.
type key struct {
	slot  slot
	rank  uint8
	enter place // inTop: none
}

// keys by name, written without case, '_', '-', '.' and '@'. So remote_ip,
// remoteIp and RemoteIP are one. From domain.md section 7 and the documented
// keys of Caddy, Envoy, Traefik, nginx' variables, pino and Logstash.
//
// The peer is who called the proxy. The client is the proxy's own opinion of
// who is behind that peer: it stands in for X-Forwarded-For where a line has
// none, and for the peer where it has none.
var keys = map[string]key{
	"clientaddr":                    {slotPeer, 9, 0}, // Traefik
	"downstreamdirectremoteaddress": {slotPeer, 8, 0}, // Envoy
	"remoteip":                      {slotPeer, 7, 0},
	"remoteaddr":                    {slotPeer, 6, 0},
	"remoteaddress":                 {slotPeer, 5, 0},
	"remotehost":                    {slotPeer, 4, 0},
	"peer":                          {slotPeer, 3, 0},
	"clientip":                      {slotClient, 9, 0},
	"clienthost":                    {slotClient, 8, 0}, // Traefik: X-Forwarded-For where there is one
	"downstreamremoteaddress":       {slotClient, 7, 0}, // Envoy
	"client":                        {slotClient, 6, 0},
	"realip":                        {slotClient, 5, 0},
	"ip":                            {slotClient, 4, 0},
	"xforwardedfor":                 {slotForwarded, 9, 0},
	"httpxforwardedfor":             {slotForwarded, 8, 0},
	"requestxforwardedfor":          {slotForwarded, 7, 0}, // Traefik: request_X-Forwarded-For
	"xff":                           {slotForwarded, 6, 0},
	"method":                        {slotMethod, 9, 0},
	"requestmethod":                 {slotMethod, 8, 0},
	"httpmethod":                    {slotMethod, 7, 0},
	"verb":                          {slotMethod, 6, 0},
	"requesturi":                    {slotTarget, 9, 0}, // the target as it came, nginx' uri may be rewritten
	"originalurl":                   {slotTarget, 8, 0},
	"uri":                           {slotTarget, 7, 0},
	"url":                           {slotTarget, 6, 0},
	"path":                          {slotTarget, 5, 0},
	"requestpath":                   {slotTarget, 4, 0},
	"request":                       {slotLine, 9, inRequest}, // a line, or an object
	"requestline":                   {slotLine, 8, 0},
	"req":                           {slotLine, 7, inRequest},
	"httprequest":                   {slotNone, 0, inRequest},
	"http":                          {slotNone, 0, inRequest},
	"downstreamstatus":              {slotStatus, 9, 0},
	"status":                        {slotStatus, 8, 0},
	"statuscode":                    {slotStatus, 7, 0},
	"responsecode":                  {slotStatus, 6, 0},
	"responsestatus":                {slotStatus, 5, 0},
	"httpstatus":                    {slotStatus, 4, 0},
	"elbstatuscode":                 {slotStatus, 3, 0},
	"originstatus":                  {slotStatus, 2, 0},
	"response":                      {slotStatus, 1, inResponse},
	"res":                           {slotNone, 0, inResponse},
	"time":                          {slotTime, 9, 0},
	"ts":                            {slotTime, 8, 0},
	"timestamp":                     {slotTime, 7, 0}, // and @timestamp
	"timeiso8601":                   {slotTime, 6, 0},
	"timelocal":                     {slotTime, 5, 0},
	"msec":                          {slotTime, 4, 0},
	"starttime":                     {slotTime, 3, 0},
	"startutc":                      {slotTime, 2, 0},
	"startlocal":                    {slotTime, 1, 0},
	"workspaceid":                   {slotWorkspace, 9, 0},
	"xmoleculeworkspaceid":          {slotWorkspace, 8, 0},
	"httpxmoleculeworkspaceid":      {slotWorkspace, 7, 0},
	"requestxmoleculeworkspaceid":   {slotWorkspace, 6, 0},
	"model":                         {slotModel, 9, 0},
	"inputtokens":                   {slotInput, 9, 0},
	"prompttokens":                  {slotInput, 8, 0},
	"outputtokens":                  {slotOutput, 9, 0},
	"completiontokens":              {slotOutput, 8, 0},
	"costusd":                       {slotCost, 9, 0},
	"totalcostusd":                  {slotCost, 8, 0},
	"totalcost":                     {slotCost, 7, 0},
	"responsecost":                  {slotCost, 6, 0}, // LiteLLM
	"cost":                          {slotCost, 5, 0},
	"usage":                         {slotNone, 0, inUsage},
	"headers":                       {slotNone, 0, inHeaders},
	"requestheaders":                {slotNone, 0, inHeaders},
}

// keyOf tells what name means where it stands. A zero key means nothing.
func keyOf(name []byte, at place) key {
	var room [32]byte
	plain := room[:0]
	for _, c := range name {
		if c == '_' || c == '-' || c == '.' || c == '@' {
			continue
		}
		if len(plain) == len(room) {
			return key{}
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		plain = append(plain, c)
	}
	k := keys[string(plain)]
	if !k.means(at) {
		return key{}
	}
	// What stands at the top counts more than the same name further in.
	k.rank *= 2
	if at == inTop {
		k.rank++
	}
	return k
}

func (k key) means(at place) bool {
	switch at {
	case inTop:
		return true
	case inRequest:
		return k.slot != slotTime
	case inResponse:
		return k.slot == slotStatus && k.enter == inTop || k.enter == inUsage
	case inHeaders:
		return k.slot == slotForwarded || k.slot == slotWorkspace
	case inUsage:
		return k.slot == slotInput || k.slot == slotOutput || k.slot == slotCost
	}
	return false
}

// memory remembers the keys of the line before, by their order, and what they
// meant: lines of one log mostly have the same keys in the same order.
type memory [64]remembered

// remembered is a key as it stood in a line, with quotes and colon.
type remembered struct {
	low, high uint64 // its first and its next eight bytes
	of        [2]uint64
	raw       [48]byte
	size      uint8
	at        uint8 // the place plus one; 0: nothing is remembered
	key       key
}

// next tells whether the nth key of a line is again the one of the line before,
// given what the line goes on with; size is how much of that it takes. What was
// once read as a key needs no second look.
func (m *memory) next(n int, rest []byte, at place) (k key, size int) {
	if n >= len(m) || len(rest) < 16 {
		return key{}, 0
	}
	e := &m[n]
	low, high := binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[8:])
	if (low^e.low)&e.of[0]|(high^e.high)&e.of[1] != 0 || e.at != uint8(at)+1 {
		return key{}, 0
	}
	if size = int(e.size); size > 16 && (size > len(rest) || string(rest[16:size]) != string(e.raw[16:size])) {
		return key{}, 0
	}
	return e.key, size
}

// keep remembers raw, which means k, as the nth key.
func (m *memory) keep(n int, raw []byte, at place, k key) {
	if n >= len(m) || len(raw) > len(m[n].raw) {
		return
	}
	e := &m[n]
	e.size, e.at, e.key = uint8(len(raw)), uint8(at)+1, k // #nosec G115 -- at most 48
	copy(e.raw[:], raw)
	e.low, e.high = binary.LittleEndian.Uint64(e.raw[:]), binary.LittleEndian.Uint64(e.raw[8:])
	e.of = [2]uint64{firstBytes(len(raw)), firstBytes(len(raw) - 8)}
}

// firstBytes masks so many bytes of a word, none to all.
func firstBytes(n int) uint64 {
	if n >= 8 {
		return ^uint64(0)
	}
	return 1<<(8*max(n, 0)) - 1
}
