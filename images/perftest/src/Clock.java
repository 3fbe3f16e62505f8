package com.rabbitmq.perf;

/** The time in microseconds since 1970, which never goes back. */
final class Clock {

  private static final long OFFSET =
      System.currentTimeMillis() * 1000 - System.nanoTime() / 1000;

  private Clock() {}

  static long micros() {
    return OFFSET + System.nanoTime() / 1000;
  }
}
