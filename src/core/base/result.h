// Result<T>: the value, or the Error that took its place. For failures that the caller is expected to meet (bad input,
// a server that is away); a broken invariant is an assert, running out of memory an exception.
#pragma once
#include <cassert>
#include <string>
#include <utility>
#include <variant>

namespace pgbraid::core {

// What the user is told. `sqlstate` points to a literal of five characters; `hint` names the statement or the setting
// that mends it and may be empty.
struct Error {
	const char *sqlstate = "XX000";
	std::string message;
	std::string detail = {};
	std::string hint = {};
};

template <typename T>
class [[nodiscard]] Result {
public:
	Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
	Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

	bool ok() const noexcept { return state_.index() == 0; }
	explicit operator bool() const noexcept { return ok(); }

	T &value()
	{
		assert(ok());
		return *std::get_if<0>(&state_);
	}
	const T &value() const
	{
		assert(ok());
		return *std::get_if<0>(&state_);
	}
	T &operator*() { return value(); }
	T *operator->() { return &value(); }
	const Error &error() const
	{
		assert(!ok());
		return *std::get_if<1>(&state_);
	}

private:
	std::variant<T, Error> state_;
};

struct Nothing {};
using Status = Result<Nothing>;

} // namespace pgbraid::core
