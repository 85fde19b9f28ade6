// Text that a stream carries and only its writer reads: encrypted under a secret, as hexadecimal digits.
#pragma once
#include "core/flow/mask.h"

#include <optional>
#include <string>
#include <string_view>

namespace pgbraid::core {

// The same text always gives the same digits: SIV with HMAC-SHA-256 in place of a cipher.
class Seal {
public:
	explicit Seal(std::string_view secret) : hmac_(secret) {}

	void append(Bytes &to, std::string_view text) const;
	std::optional<std::string> open(std::string_view digits) const; // nothing for what another secret sealed

private:
	std::string tag_of(std::string_view text) const;
	void apply_key(std::string &text, std::string_view tag) const;

	Hmac hmac_;
};

} // namespace pgbraid::core
