#include "job/dispatch/webhooks.h"

#include "core/flow/json.h"
#include "core/job/signature.h"
#include "nats/signals.h"
#include "pg/encoding.h"
#include "settings/settings.h"

extern "C" {
#include "miscadmin.h"
#include "postmaster/bgworker.h"
}

#include <algorithm>
#include <ctime>

namespace pgbraid::job {

namespace {

using nats::SignalsBlocked;

constexpr int64 most_at_once = 500;
constexpr const char *lock_patience = "200ms";

// As a column of ours can have it: no more than 64 kB, no zero byte, in the encoding of the database.
std::string storable(std::string_view bytes)
{
	core::Bytes text;
	text.append(core::utf8_prefix(bytes, 65536));
	core::repair_utf8(text, 0);
	std::string clean(text.view());
	std::replace(clean.begin(), clean.end(), '\0', ' ');
	try {
		return pg::from_utf8(clean);
	} catch (const pg::Error &) {
		return "(text that the encoding of this database does not have)";
	}
}

std::vector<std::string> headers_of(const catalog::WebhookRun &run, const std::string &body)
{
	std::vector<std::string> headers{"Content-Type: application/json", "x-pgbraid-run: " + std::to_string(run.id),
									 "x-pgbraid-attempt: " + std::to_string(run.attempt)};
	if (!run.secret.empty()) {
		headers.push_back("x-schedo-signature: " + core::body_signature(run.secret, body));
		headers.push_back("x-pgbraid-signature: " + core::timed_signature(run.secret, std::time(nullptr), body));
	}
	return headers;
}

// What keeps a run from being sent at all.
std::optional<pg::Caught> obstacle(const catalog::WebhookRun &run)
{
	if (run.url.empty())
		return pg::Caught{"42704", "the server of the webhook does not exist any more, or has no url", "",
						  "CREATE SERVER ... FOREIGN DATA WRAPPER pgbraid_webhook OPTIONS (url 'https://...');"};
	if (!run.is_permitted)
		return pg::Caught{"42501", "the owner of the job may not use the server of the webhook", "",
						  "GRANT USAGE ON FOREIGN SERVER to the owner of the job."};
	return std::nullopt;
}

catalog::RunOutcome outcome_of(const http::Response &response, const pg_uuid_t &token)
{
	catalog::RunOutcome outcome{.id = (int64) response.id, .token = token};
	if (!response.body.empty())
		outcome.output = response.body;
	if (response.status == 0) {
		outcome.sqlstate = response.sqlstate;
		outcome.error = response.error;
		outcome.reason = outcome.sqlstate == "57014" ? "timeout" : "";
	} else if (response.status < 200 || response.status > 299) {
		outcome.sqlstate = "HV000";
		outcome.error = "the webhook answered with status " + std::to_string(response.status);
	}
	return outcome;
}

void note(catalog::RunOutcome outcome)
{
	outcome.error = storable(outcome.error);
	if (outcome.output)
		outcome.output = storable(*outcome.output);
	catalog::note_outcome(outcome);
}

} // namespace

Webhooks::Webhooks() = default;

std::optional<pg::Caught> Webhooks::give_up_earlier()
{
	if (has_given_up_)
		return std::nullopt;
	auto trouble = pg::attempt("giving up webhooks", [] { (void) catalog::give_up_webhooks(); });
	has_given_up_ = !trouble;
	return trouble;
}

int64 Webhooks::room() const
{
	return settings::job_dispatches() - (int64) calls_.size() - (int64) outcomes_.size();
}

std::optional<pg::Caught> Webhooks::send(bool is_news)
{
	may_have_more_ = may_have_more_ || is_news;
	int64 most = Min(room(), most_at_once);
	if (!may_have_more_ || most <= 0 || !has_given_up_)
		return std::nullopt;
	std::vector<catalog::WebhookRun> runs;
	auto trouble = pg::attempt("taking runs for webhooks", [&] {
		runs = catalog::take_webhooks(MyBgworkerEntry->bgw_name, most);
		for (auto &run : runs) {
			run.body = pg::to_utf8(run.body);
			run.url = pg::to_utf8(run.url);
			run.secret = pg::to_utf8(run.secret);
		}
	});
	if (trouble)
		return trouble;
	may_have_more_ = (int64) runs.size() == most;
	has_sent_ = has_sent_ || !runs.empty();
	for (const auto &run : runs)
		call(run);
	return std::nullopt;
}

void Webhooks::call(const catalog::WebhookRun &run)
{
	if (auto why = obstacle(run))
		return note_refusal(run, *why);
	try {
		SignalsBlocked blocked;
		calls_.start({.id = (uint64) run.id,
					  .url = run.url,
					  .body = run.body,
					  .headers = headers_of(run, run.body),
					  .timeout = std::chrono::milliseconds((run.timeout + 999) / 1000)});
		tokens_.emplace(run.id, run.token);
	} catch (const std::runtime_error &error) {
		note_refusal(run, {"HV000", error.what(), "", ""});
	}
}

void Webhooks::note_refusal(const catalog::WebhookRun &run, const pg::Caught &why)
{
	std::string error = why.message + (why.hint.empty() ? "" : "\nHINT: " + why.hint);
	outcomes_.push_back({.id = run.id, .token = run.token, .sqlstate = why.sqlstate, .error = error});
}

// All together; where that fails, each by itself, so that one which can't be noted does not hold up the others.
std::optional<pg::Caught> Webhooks::collect()
{
	std::vector<http::Response> responses;
	{
		SignalsBlocked blocked;
		responses = calls_.perform();
	}
	for (const auto &response : responses) {
		auto token = tokens_.find((int64) response.id);
		outcomes_.push_back(outcome_of(response, token->second));
		tokens_.erase(token);
	}
	if (outcomes_.empty())
		return std::nullopt;
	auto trouble = pg::attempt("noting the answers of webhooks", lock_patience, [&] {
		for (const auto &outcome : outcomes_)
			note(outcome);
	});
	if (!trouble) {
		outcomes_.clear();
		return std::nullopt;
	}
	std::erase_if(outcomes_, [&](const catalog::RunOutcome &outcome) {
		trouble = pg::attempt("noting the answer of a webhook", lock_patience, [&] {
			note(outcome);
		});
		return !trouble;
	});
	return outcomes_.empty() ? std::nullopt : trouble;
}

std::optional<pg::Caught> Webhooks::withdraw()
{
	if (tokens_.empty())
		return std::nullopt;
	std::vector<int64> runs, held;
	for (auto &[run, token] : tokens_)
		runs.push_back(run);
	auto trouble = pg::attempt("looking for runs that were cancelled", [&] {
		for (const auto &run : catalog::still_held(runs))
			if (memcmp(&run.token, &tokens_.at(run.id), sizeof run.token) == 0)
				held.push_back(run.id);
	});
	if (trouble)
		return trouble;
	std::sort(held.begin(), held.end());
	for (int64 run : runs) {
		if (std::binary_search(held.begin(), held.end(), run))
			continue;
		SignalsBlocked blocked;
		calls_.abort((uint64) run);
		tokens_.erase(run);
	}
	return std::nullopt;
}

std::optional<long> Webhooks::timeout_ms() const
{
	auto timeout = calls_.timeout();
	return timeout ? std::optional((long) timeout->count()) : std::nullopt;
}

} // namespace pgbraid::job
