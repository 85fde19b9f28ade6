// pgbraid-tail: prints the messages of a JetStream stream as they arrive, one line each.
//
// Reads through an ordered consumer, from the last sequence seen on whenever something breaks: so nothing is missed and
// nothing comes twice, whatever happens to the server meanwhile.
#include "core/flow/base64.h"
#include "core/flow/subject.h"

#include <nats/nats.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <getopt.h>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t interrupted = 0;

constexpr char usage[] =
	"pgbraid-tail prints the messages of a NATS JetStream stream as they arrive.\n"
	"\n"
	"Usage: pgbraid-tail [OPTION]... [SUBJECT]...\n"
	"\n"
	"  -s, --server URL[,URL]   NATS servers (default: $NATS_URL or nats://127.0.0.1:4222)\n"
	"      --creds FILE         credentials file\n"
	"      --user NAME, --password PASSWORD\n"
	"      --stream NAME        stream to read (default: the one that listens on SUBJECT)\n"
	"      --from all|new|last|SEQUENCE   where to begin (default: all)\n"
	"      --count N            end after N messages\n"
	"      --until-end          end after the last message that the stream holds at the start\n"
	"      --timeout SECONDS    end with status 2 when no message arrives for so long\n"
	"      --wait               wait for the stream to be made\n"
	"      --json               one JSON object for each message: stream_seq, subject, headers, data\n"
	"      --verbose            the subject before each message\n"
	"      --version, --help\n"
	"\n"
	"Without a SUBJECT, every message of the stream. It may have wildcards: pgflow.shop.public.* for every table of a\n"
	"schema.\n";

struct Options {
	std::string servers = std::getenv("NATS_URL") ? std::getenv("NATS_URL") : "nats://127.0.0.1:4222";
	std::string creds, user, password, stream, from = "all";
	std::vector<std::string> subjects;
	std::uint64_t count = 0;
	bool until_end = false, wait = false, json = false, verbose = false;
	double timeout = 0;
};

[[noreturn]] void fail(const std::string &message, int status = 1)
{
	std::fflush(stdout);
	std::fprintf(stderr, "pgbraid-tail: %s\n", message.c_str());
	std::exit(status);
}

Options parse(int argc, char **argv)
{
	enum { creds = 256, user, password, stream, from, count, until_end, timeout, wait, json, verbose, version, help };
	static const option known[] = {{"server", required_argument, nullptr, 's'},
								   {"creds", required_argument, nullptr, creds},
								   {"user", required_argument, nullptr, user},
								   {"password", required_argument, nullptr, password},
								   {"stream", required_argument, nullptr, stream},
								   {"from", required_argument, nullptr, from},
								   {"count", required_argument, nullptr, count},
								   {"until-end", no_argument, nullptr, until_end},
								   {"timeout", required_argument, nullptr, timeout},
								   {"wait", no_argument, nullptr, wait},
								   {"json", no_argument, nullptr, json},
								   {"verbose", no_argument, nullptr, verbose},
								   {"version", no_argument, nullptr, version},
								   {"help", no_argument, nullptr, help},
								   {nullptr, 0, nullptr, 0}};
	Options options;
	for (int choice; (choice = getopt_long(argc, argv, "s:", known, nullptr)) != -1;) {
		switch (choice) {
			case 's': options.servers = optarg; break;
			case creds: options.creds = optarg; break;
			case user: options.user = optarg; break;
			case password: options.password = optarg; break;
			case stream: options.stream = optarg; break;
			case from: options.from = optarg; break;
			case count: options.count = std::strtoull(optarg, nullptr, 10); break;
			case until_end: options.until_end = true; break;
			case timeout: options.timeout = std::strtod(optarg, nullptr); break;
			case wait: options.wait = true; break;
			case json: options.json = true; break;
			case verbose: options.verbose = true; break;
			case version: std::puts("pgbraid-tail " PGBRAID_VERSION); std::exit(0);
			case help: std::fputs(usage, stdout); std::exit(0);
			default: std::fputs("Try 'pgbraid-tail --help'.\n", stderr); std::exit(1);
		}
	}
	options.subjects.assign(argv + optind, argv + argc);
	if (options.stream.empty() && options.subjects.empty())
		fail("which messages? Give a subject or --stream.");
	return options;
}

void append_json(std::string &to, std::string_view text)
{
	to += '"';
	for (char c : text) {
		if (c == '"' || c == '\\') {
			to += '\\';
			to += c;
		} else if (static_cast<unsigned char>(c) < 0x20) {
			char escape[8];
			std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
			to += escape;
		} else {
			to += c;
		}
	}
	to += '"';
}

void append_base64(std::string &to, std::string_view bytes)
{
	pgbraid::core::Bytes text;
	pgbraid::core::append_base64(text, bytes);
	to += '"';
	to += text.view();
	to += '"';
}

void append_headers(std::string &to, natsMsg *message)
{
	const char **keys = nullptr;
	int count = 0;
	to += '{';
	if (natsMsgHeader_Keys(message, &keys, &count) == NATS_OK) {
		for (int i = 0; i < count; i++) {
			const char *value = nullptr;
			natsMsgHeader_Get(message, keys[i], &value);
			to += i > 0 ? "," : "";
			append_json(to, keys[i]);
			to += ':';
			append_json(to, value ? value : "");
		}
		std::free(static_cast<void *>(keys));
	}
	to += '}';
}

// Payloads of one JSON value, not of several lines of them, are shown as what they are.
bool is_json(std::string_view data)
{
	return !data.empty() && (data[0] == '{' || data[0] == '[') && data.find('\n') == data.npos;
}

class Tail {
public:
	explicit Tail(Options options) : options_(std::move(options)) {}

	int run()
	{
		connect();
		find_stream();
		find_start();
		if (options_.until_end && next_ > last_)
			return 0;
		last_message_ = Clock::now();
		while (!interrupted) {
			if (subscription_ == nullptr && !subscribe())
				continue;
			natsMsg *message = nullptr;
			natsStatus status = natsSubscription_NextMsg(&message, subscription_, printed_since_flush_ ? 1 : 200);
			if (status == NATS_OK && take(message))
				return 0;
			if (status == NATS_TIMEOUT)
				idle();
			else if (status != NATS_OK)
				unsubscribe();
		}
		return 0;
	}

private:
	void connect()
	{
		natsOptions *settings = nullptr;
		natsOptions_Create(&settings);
		std::vector<std::string> urls;
		for (std::size_t at = 0; at <= options_.servers.size();) {
			std::size_t end = std::min(options_.servers.find(',', at), options_.servers.size());
			urls.push_back(options_.servers.substr(at, end - at));
			at = end + 1;
		}
		std::vector<const char *> pointers;
		for (const std::string &url : urls)
			pointers.push_back(url.c_str());
		natsStatus status = natsOptions_SetServers(settings, pointers.data(), static_cast<int>(pointers.size()));
		if (status == NATS_OK && !options_.creds.empty())
			status = natsOptions_SetUserCredentialsFromFiles(settings, options_.creds.c_str(), nullptr);
		if (status == NATS_OK && !options_.user.empty())
			status = natsOptions_SetUserInfo(settings, options_.user.c_str(), options_.password.c_str());
		natsOptions_SetName(settings, "pgbraid-tail");
		natsOptions_SetMaxReconnect(settings, -1);
		natsOptions_SetReconnectWait(settings, 100);
		natsOptions_SetMaxPendingMsgs(settings, 1 << 20);
		if (status == NATS_OK)
			status = natsConnection_Connect(&connection_, settings);
		natsOptions_Destroy(settings);
		if (status == NATS_OK)
			status = natsConnection_JetStream(&jetstream_, connection_, nullptr);
		if (status != NATS_OK)
			fail("could not connect to " + options_.servers + ": " + natsStatus_GetText(status));
	}

	// The stream by its name, or by the subject that it listens on.
	bool look_up()
	{
		jsStreamInfo *info = nullptr;
		jsErrCode code = jsErrCode(0);
		if (options_.stream.empty() && !find_by_subject())
			return false;
		natsStatus status = js_GetStreamInfo(&info, jetstream_, options_.stream.c_str(), nullptr, &code);
		if (status == NATS_OK) {
			first_ = info->State.FirstSeq;
			last_ = info->State.LastSeq;
		} else if (status != NATS_NOT_FOUND) {
			problem_ = natsStatus_GetText(status);
		}
		jsStreamInfo_Destroy(info);
		return status == NATS_OK;
	}

	bool find_by_subject()
	{
		std::string request = "{\"subject\":";
		append_json(request, options_.subjects.front());
		request += '}';
		natsMsg *reply = nullptr;
		natsStatus status =
			natsConnection_RequestString(&reply, connection_, "$JS.API.STREAM.NAMES", request.c_str(), 2000);
		if (status != NATS_OK) {
			problem_ = natsStatus_GetText(status);
			return false;
		}
		std::string_view text(natsMsg_GetData(reply), static_cast<std::size_t>(natsMsg_GetDataLength(reply)));
		constexpr std::string_view key = "\"streams\":[\"";
		if (std::size_t at = text.find(key); at != text.npos) {
			at += key.size();
			options_.stream = text.substr(at, text.find('"', at) - at);
		}
		natsMsg_Destroy(reply);
		return !options_.stream.empty();
	}

	void find_stream()
	{
		auto end = Clock::now() + std::chrono::duration<double>(options_.timeout > 0 ? options_.timeout : 1e9);
		while (!look_up()) {
			if (!options_.wait)
				fail(problem_.empty()
						 ? "no stream " +
							   (options_.stream.empty() ? "listens on " + options_.subjects.front() : options_.stream)
						 : "could not look for the stream: " + problem_);
			if (interrupted)
				std::exit(0);
			if (Clock::now() > end)
				fail("the stream has not been made in time", 2);
			std::this_thread::sleep_for(50ms);
		}
	}

	void find_start()
	{
		if (options_.from == "all")
			next_ = std::max<std::uint64_t>(first_, 1);
		else if (options_.from == "new")
			next_ = last_ + 1;
		else if (options_.from == "last")
			next_ = std::max<std::uint64_t>(last_, 1);
		else if (auto end = options_.from.data() + options_.from.size();
				 std::from_chars(options_.from.data(), end, next_).ptr != end || next_ == 0)
			fail("--from takes all, new, last or a sequence");
	}

	bool subscribe()
	{
		jsSubOptions how;
		jsSubOptions_Init(&how);
		how.Stream = options_.stream.c_str();
		how.Ordered = true;
		how.Config.DeliverPolicy = js_DeliverByStartSequence;
		how.Config.OptStartSeq = next_;
		natsStatus status = js_SubscribeSync(&subscription_, jetstream_, ">", nullptr, &how, nullptr);
		if (status == NATS_OK) {
			natsSubscription_SetPendingLimits(subscription_, -1, -1);
			return true;
		}
		subscription_ = nullptr;
		idle();
		std::this_thread::sleep_for(100ms);
		return false;
	}

	void unsubscribe()
	{
		natsSubscription_Destroy(subscription_);
		subscription_ = nullptr;
	}

	// True when it was the last one wanted.
	bool take(natsMsg *message)
	{
		jsMsgMetaData *data = nullptr;
		if (natsMsg_GetMetaData(&data, message) != NATS_OK) {
			natsMsg_Destroy(message);
			return false;
		}
		std::uint64_t sequence = data->Sequence.Stream;
		jsMsgMetaData_Destroy(data);
		bool is_new = sequence >= next_;
		if (is_new && is_wanted(message)) {
			print(message, sequence);
			printed_++;
			last_message_ = Clock::now();
		}
		next_ = std::max(next_, sequence + 1);
		natsMsg_Destroy(message);
		return is_new && (printed_ == options_.count || (options_.until_end && sequence >= last_));
	}

	// All of the stream is read, whatever subjects are wanted: so its sequences have no gaps, and one order holds for
	// all.
	bool is_wanted(natsMsg *message) const
	{
		const auto &wanted = options_.subjects;
		return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string &pattern) {
				   return pgbraid::core::covers(pattern, natsMsg_GetSubject(message));
			   });
	}

	void print(natsMsg *message, std::uint64_t sequence)
	{
		std::string_view payload(natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message)));
		line_.clear();
		if (options_.json) {
			line_ += "{\"stream_seq\":" + std::to_string(sequence) + ",\"subject\":";
			append_json(line_, natsMsg_GetSubject(message));
			line_ += ",\"headers\":";
			append_headers(line_, message);
			const char *part = nullptr;
			if (natsMsgHeader_Get(message, "Pgbraid-Part", &part) == NATS_OK) {
				line_ += ",\"data_base64\":";
				append_base64(line_, payload);
			} else {
				line_ += ",\"data\":";
				if (is_json(payload))
					line_ += payload;
				else
					append_json(line_, payload);
			}
			line_ += '}';
		} else {
			if (options_.verbose)
				line_ += std::string(natsMsg_GetSubject(message)) + "  ";
			line_ += payload;
		}
		line_ += '\n';
		if (std::fwrite(line_.data(), 1, line_.size(), stdout) != line_.size())
			std::exit(0); // nobody reads any more
		printed_since_flush_ = true;
	}

	void idle()
	{
		if (printed_since_flush_ && std::fflush(stdout) != 0)
			std::exit(0);
		printed_since_flush_ = false;
		auto silence = Clock::now() - last_message_;
		if (options_.timeout > 0 && silence > std::chrono::duration<double>(options_.timeout))
			fail("no message has arrived for " + std::to_string(static_cast<int>(options_.timeout)) + " s", 2);
		if (subscription_ != nullptr && silence > 2s && Clock::now() > next_look_)
			look_whether_stuck();
	}

	// An ordered consumer can be gone with a server that restarted, without a word.
	void look_whether_stuck()
	{
		next_look_ = Clock::now() + 2s;
		jsStreamInfo *info = nullptr;
		if (js_GetStreamInfo(&info, jetstream_, options_.stream.c_str(), nullptr, nullptr) == NATS_OK &&
			info->State.LastSeq >= next_)
			unsubscribe();
		jsStreamInfo_Destroy(info);
	}

	Options options_;
	natsConnection *connection_ = nullptr;
	jsCtx *jetstream_ = nullptr;
	natsSubscription *subscription_ = nullptr;
	std::string problem_, line_;
	std::uint64_t first_ = 0, last_ = 0, next_ = 0, printed_ = 0;
	bool printed_since_flush_ = false;
	Clock::time_point last_message_, next_look_;
};

} // namespace

int main(int argc, char **argv)
{
	static char buffer[1 << 16];
	std::setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	for (int number : {SIGINT, SIGTERM})
		std::signal(number, [](int) { interrupted = 1; });
	int status = Tail(parse(argc, argv)).run();
	std::fflush(stdout);
	std::_Exit(status); // without waiting for libnats' threads
}
