// Moments of a clock that nobody puts ahead or back.
#pragma once
#include "core/job/offer_book.h"

#include <chrono>

namespace pgbraid::job {

using Moment = core::OfferBook::Moment;

inline Moment clock()
{
	return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
		.count();
}

} // namespace pgbraid::job
