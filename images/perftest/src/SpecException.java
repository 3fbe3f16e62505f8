package com.rabbitmq.perf;

/** A mistake in the spec file or in a variable; the message says what was found and what is expected. */
final class SpecException extends RuntimeException {

  SpecException(String message) {
    super(message);
  }
}
