//! Empty: only the sources that its dependencies carry are wanted.
