// A transaction of a background worker: f runs in it, with a snapshot and SPI; it commits when f returns. An exception
// passes through and leaves the transaction open, since it ends the worker, and PostgreSQL then aborts it.
#pragma once
#include "pg/boundary.h"

namespace pgbraid::pg {

namespace detail {
void start_transaction(const char *activity);
void take_snapshot();
void commit();
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

} // namespace pgbraid::pg
