//! execute(&Plan) -> History: the only impure arrow.
