// The only two doors between C++ and PostgreSQL.
//
//   pg::call(f)      C++ -> PostgreSQL: an ereport(ERROR) raised by f becomes a thrown pg::Error.
//   pg::enter(f, a)  PostgreSQL -> C++: a C++ exception leaving f becomes an ereport(ERROR).
//
// An ereport is a longjmp: no object with a destructor may live in a frame that it jumps over. So code that owns
// objects calls PostgreSQL inside call(), whose lambda holds trivial locals only; and a frame that PostgreSQL entered
// and that owns nothing may let an ereport pass.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "utils/elog.h"
#include "utils/memutils.h"
}

#include "core/base/result.h"

#include <exception>
#include <new>
#include <type_traits>
#include <utility>

namespace pgbraid::pg {

// An ereport(ERROR) in flight through C++ frames; keeps SQLSTATE, DETAIL, HINT and CONTEXT.
class Error {
public:
	explicit Error(ErrorData *data) noexcept : data_(data) {}
	ErrorData *data() const noexcept { return data_; }

private:
	ErrorData *data_; // owned by the memory context that was current at pg::call
};

// A problem that our own code found, as the user shall see it.
class Failure : public std::exception {
public:
	explicit Failure(const core::Error &error) noexcept
	{
		strlcpy(sqlstate_, error.sqlstate, sizeof sqlstate_);
		strlcpy(message_, error.message.c_str(), sizeof message_);
		strlcpy(detail_, error.detail.c_str(), sizeof detail_);
		strlcpy(hint_, error.hint.c_str(), sizeof hint_);
	}
	const char *what() const noexcept override { return message_; }
	const char *sqlstate() const noexcept { return sqlstate_; }
	const char *detail() const noexcept { return detail_; }
	const char *hint() const noexcept { return hint_; }

private:
	char sqlstate_[6];
	char message_[512];
	char detail_[512];
	char hint_[512];
};

namespace detail {

struct HandlerScope { // restores the handler even when a C++ exception leaves pg::call
	sigjmp_buf *exception_stack = PG_exception_stack;
	ErrorContextCallback *context_stack = error_context_stack;
	~HandlerScope()
	{
		PG_exception_stack = exception_stack;
		error_context_stack = context_stack;
	}
};

// Trivially destructible on purpose: it lives in the frame that ereport() will jump out of. Made for every change, so
// the texts are not cleared as a whole.
struct Report {
	ErrorData *from_postgres = nullptr;
	char sqlstate[6] = "XX000";
	char message[512], detail[512], hint[512];
	Report() noexcept { message[0] = detail[0] = hint[0] = '\0'; }
};
static_assert(std::is_trivially_destructible_v<Report>);

[[noreturn]] inline void raise(const Report &report)
{
	if (report.from_postgres != nullptr)
		ReThrowError(report.from_postgres);
	const char *state = report.sqlstate;
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4])), errmsg("%s", report.message),
			 report.detail[0] ? errdetail("%s", report.detail) : 0, report.hint[0] ? errhint("%s", report.hint) : 0));
	pg_unreachable();
}

} // namespace detail

template <typename F>
auto call(F &&f) -> std::invoke_result_t<F>
{
	using Value = std::invoke_result_t<F>;
	static_assert(std::is_void_v<Value> || std::is_trivially_destructible_v<Value>,
				  "a longjmp would skip the destructor of the result");
	static_assert(std::is_trivially_destructible_v<std::remove_reference_t<F>>,
				  "capture by reference: a longjmp would skip the destructor of a captured value");
	MemoryContext context = CurrentMemoryContext;
	{
		detail::HandlerScope scope;
		sigjmp_buf handler;
		if (sigsetjmp(handler, 0) == 0) {
			PG_exception_stack = &handler;
			return f();
		}
	}
	MemoryContextSwitchTo(context);
	ErrorData *data = CopyErrorData();
	FlushErrorState();
	throw Error(data);
}

template <typename F, typename... Args>
auto enter(F f, Args... args) -> std::invoke_result_t<F, Args...>
{
	static_assert(std::is_trivially_destructible_v<F>, "raise() would skip the destructor of f");
	detail::Report report;
	try {
		return f(args...);
	} catch (const Error &error) {
		report.from_postgres = error.data();
	} catch (const Failure &failure) {
		strlcpy(report.sqlstate, failure.sqlstate(), sizeof report.sqlstate);
		strlcpy(report.message, failure.what(), sizeof report.message);
		strlcpy(report.detail, failure.detail(), sizeof report.detail);
		strlcpy(report.hint, failure.hint(), sizeof report.hint);
	} catch (const std::bad_alloc &) {
		strlcpy(report.sqlstate, "53200", sizeof report.sqlstate);
		strlcpy(report.message, "out of memory", sizeof report.message);
	} catch (const std::exception &exception) {
		strlcpy(report.message, exception.what(), sizeof report.message);
	} catch (...) {
		strlcpy(report.message, "unknown C++ exception", sizeof report.message);
	}
	detail::raise(report); // every C++ destructor has run by now
}

// The value, or its error thrown.
template <typename T>
T take(core::Result<T> result)
{
	if (!result)
		throw Failure(result.error());
	return std::move(*result);
}

} // namespace pgbraid::pg

// A function that SQL can call. The body is C++: it may throw, and calls PostgreSQL through pg::call.
#define PGBRAID_FUNCTION(name)                                                                                         \
	extern "C" {                                                                                                       \
	PG_FUNCTION_INFO_V1(name);                                                                                         \
	}                                                                                                                  \
	static Datum name##_body(FunctionCallInfo fcinfo);                                                                 \
	PGBRAID_EXPORT Datum name(PG_FUNCTION_ARGS)                                                                        \
	{                                                                                                                  \
		return pgbraid::pg::enter(name##_body, fcinfo);                                                                \
	}                                                                                                                  \
	static Datum name##_body([[maybe_unused]] FunctionCallInfo fcinfo)
