package ssm

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// instance is what the inventory says of one; the zero value is not in it.
type instance struct {
	listed   bool
	online   bool
	ping     string
	lastPing time.Time
	address  netip.Addr
	platform string
}

// offline gives the observation of an instance that is not asked.
func (i instance) offline() drift.Observation {
	o := unreachable("not in the SSM inventory: stopped, terminated, or without a running SSM agent")
	if i.listed {
		o.Reason = "SSM agent: " + i.ping
		if !i.lastPing.IsZero() {
			o.Reason += ", last heard of at " + i.lastPing.UTC().Format(time.RFC3339)
		}
	}
	if i.platform != "" && i.platform != string(types.PlatformTypeLinux) {
		o = drift.Observation{State: drift.Unsupported, Reason: "platform " + i.platform}
	}
	return i.fill(o)
}

// fill adds what the inventory knows to an observation.
func (i instance) fill(o drift.Observation) drift.Observation {
	o.LastPing = i.lastPing
	if i.address.IsValid() && !slices.Contains(o.Addresses, i.address) {
		o.Addresses = append(slices.Clone(o.Addresses), i.address)
	}
	return o
}

// inquire asks the inventory for a batch, and passes on to its campaign who is
// to be looked into.
func (p *Pool) inquire(b *batch) {
	defer close(b.done)
	defer b.stop()
	p.inquireOf(b, p.waited(b))
}

// inquireOf asks for some of a batch, and for parts of them where AWS objects
// to an id. Those whose call failed are answered with the reason; an error that
// all other calls would meet ends all questions.
func (p *Pool) inquireOf(b *batch, ids []string) {
	if len(ids) == 0 {
		return
	}
	found, err := p.describe(b, ids)
	if one, other := split(ids, err); one != nil {
		p.inquireOf(b, p.waited(b, one...))
		p.inquireOf(b, p.waited(b, other...))
		return
	}
	if err != nil {
		why := explain(opInventory, "", err)
		p.told(b, ids, func(*ask, string) (drift.Observation, bool) { return unreachable(why), true })
		if isFinal(err) {
			p.halt(why, everybody)
		}
		return
	}
	p.told(b, ids, func(a *ask, id string) (drift.Observation, bool) {
		i := found[id]
		a.note(id, i)
		switch {
		case !i.online:
			return i.offline(), true
		case a.campaign == nil:
			return drift.Observation{Reason: "inventory only"}, true
		}
		return drift.Observation{}, false
	})
}

// told takes instances out of a batch of the inventory: answer gives what is
// said of one, or false where it is to be looked into.
func (p *Pool) told(b *batch, ids []string, answer func(*ask, string) (drift.Observation, bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := map[*campaign]bool{}
	for _, id := range ids {
		for _, a := range b.settle(id) {
			a.upstream--
			c := a.campaign
			if c != nil {
				c.upstream--
				of[c] = true
			}
			if o, final := answer(a, id); final {
				a.give(id, o)
			} else {
				c.queue.add(id, a)
			}
		}
	}
	for c := range of {
		c.form()
	}
}

func (p *Pool) describe(b *batch, ids []string) (map[string]instance, error) {
	in := &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(pageSize),
		Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: ids}}}
	found := make(map[string]instance, len(ids))
	for {
		out, err := call(b.ctx, p, b.urgent, opInventory, func(ctx context.Context) (*ssm.DescribeInstanceInformationOutput, error) {
			return p.api.DescribeInstanceInformation(ctx, in)
		})
		if err != nil {
			return nil, err
		}
		for i := range out.InstanceInformationList {
			entry := &out.InstanceInformationList[i]
			found[aws.ToString(entry.InstanceId)] = read(entry)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil || *in.NextToken == "" {
			return found, nil
		}
	}
}

func read(entry *types.InstanceInformation) instance {
	i := instance{listed: true, ping: string(entry.PingStatus), lastPing: aws.ToTime(entry.LastPingDateTime), platform: string(entry.PlatformType)}
	i.online = entry.PingStatus == types.PingStatusOnline && (i.platform == "" || i.platform == string(types.PlatformTypeLinux))
	if address, err := netip.ParseAddr(aws.ToString(entry.IPAddress)); err == nil {
		i.address = address.Unmap()
	}
	return i
}
