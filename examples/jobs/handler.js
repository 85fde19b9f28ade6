// Executes runs that pgbraid offers on a NATS subject: npm install nats@2; node handler.js jobs.mail
//
// Start as many as you like: each run goes to one of them. docs/jobs-protocol.md has the protocol.
const { connect, JSONCodec } = require('nats');

const json = JSONCodec();
const [subject = 'jobs.mail', servers = process.env.NATS_URL || 'nats://127.0.0.1:4222'] = process.argv.slice(2);
const worker = `${require('os').hostname()}-${process.pid}`;

// What is to be done. `log` tells of it; `signal` is aborted when the run is no longer ours.
async function work(payload, { log, signal }) {
	await log(`hello ${payload.who}`);
	return `greeted ${payload.who}`;
}

// Until it is answered: neither a NATS server nor a PostgreSQL server that restarts is noticed.
async function say(nats, offer, message) {
	const { run, token } = json.decode(offer.data);
	for (;;) {
		try {
			const answer = await nats.request(offer.reply, json.encode({ run, token, ...message }), { timeout: 2000 });
			return json.decode(answer.data);
		} catch (error) {
			if (nats.isClosed()) throw error;
			await new Promise((resolve) => setTimeout(resolve, 200));
		}
	}
}

async function execute(nats, offer) {
	const picked = await say(nats, offer, { type: 'picked', worker });
	if (!picked.ok) return; // somebody else has it, or we were too slow
	const lost = new AbortController();
	const heart = setInterval(async () => {
		if (!(await say(nats, offer, { type: 'heartbeat' })).ok) lost.abort();
	}, picked.lease_ms / 3);
	try {
		const log = (line) => say(nats, offer, { type: 'log', line });
		const output = await work(json.decode(offer.data).payload, { log, signal: lost.signal });
		await say(nats, offer, { type: 'succeeded', output });
	} catch (error) {
		await say(nats, offer, { type: 'failed', error: String(error) });
	} finally {
		clearInterval(heart);
	}
}

async function main() {
	const nats = await connect({ servers, maxReconnectAttempts: -1 });
	for await (const offer of nats.subscribe(subject, { queue: subject })) await execute(nats, offer);
}

main();
