// A transaction of a background worker: f runs in it, with a snapshot and SPI; it commits when f returns. An exception
// passes through and leaves the transaction open, since it ends the worker, and PostgreSQL then aborts it.
#pragma once
#include "pg/boundary.h"

#include <optional>
#include <string>

namespace pgbraid::pg {

// An error that somebody outlived.
struct Caught {
	std::string sqlstate, message, detail, hint;
};
std::string told(const Caught &error); // in several lines

namespace detail {
void start_transaction(const char *activity);
void take_snapshot();
void commit();
void abort() noexcept;
Caught copy(const Error &error);
Caught copy(const Failure &failure);
} // namespace detail

// `activity` is shown in pg_stat_activity. search_path is pg_catalog while it lasts.
template <typename F>
auto in_transaction(const char *activity, F &&f) -> std::invoke_result_t<F>
{
	call([&] {
		detail::start_transaction(activity);
		detail::take_snapshot();
	});
	if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
		f();
		detail::commit();
	} else {
		auto value = f();
		detail::commit();
		return value;
	}
}

// The same for who outlives an error: the transaction is undone, and the error is the result.
template <typename F>
std::optional<Caught> attempt(const char *activity, F &&f)
{
	Caught found;
	try {
		in_transaction(activity, f);
		return std::nullopt;
	} catch (const Error &error) {
		found = detail::copy(error);
	} catch (const Failure &failure) {
		found = detail::copy(failure);
	}
	detail::abort();
	return found;
}

[[noreturn]] void throw_again(const Caught &error); // as a Failure

// The same, for who can go on only without an error: it is thrown when the transaction has been undone.
template <typename F>
void transact(const char *activity, F &&f)
{
	if (auto error = attempt(activity, f))
		throw_again(*error);
}

namespace detail {
void limit_lock_wait(const char *timeout);
void begin_to_listen_to_timeouts();
void end_listening_to_timeouts();
} // namespace detail

// The same for who has other things to do than to wait for a lock: longer than `timeout`, and it fails with 55P03.
template <typename F>
std::optional<Caught> attempt(const char *activity, const char *lock_timeout, F &&f)
{
	detail::begin_to_listen_to_timeouts();
	auto trouble = attempt(activity, [&] {
		detail::limit_lock_wait(lock_timeout);
		f();
	});
	detail::end_listening_to_timeouts();
	return trouble;
}

} // namespace pgbraid::pg
