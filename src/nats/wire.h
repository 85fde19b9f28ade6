// What is published, in the protocol of NATS.
#pragma once
#include "core/base/bytes.h"

#include <string_view>

namespace pgbraid::nats {

// `headers` are lines "Name: value\r\n", and not empty; without a `reply` nothing is answered.
struct Outgoing {
	std::string_view subject, reply, headers, payload;

	std::size_t size() const noexcept; // of headers and payload, as max_payload counts it
};

void append_publish(core::Bytes &to, const Outgoing &message);

} // namespace pgbraid::nats
