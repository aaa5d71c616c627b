//! Load: an open-loop schedule over raw sockets, one state machine per connection.
