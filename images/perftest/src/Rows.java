package com.rabbitmq.perf;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The result file: a row for messages of one kind with equal times. `timestamp_us` is the end of the last of them in
 * microseconds since 1970, `elapsed_us` the time of each, `failed` how many of these or of earlier messages have failed.
 */
final class Rows implements AutoCloseable {

  static final String HEADER = "timestamp_us,operation,step,elapsed_us,messages,failed,bytes";

  private final PrintWriter out;

  Rows(Path file) throws IOException {
    out = new PrintWriter(Files.newBufferedWriter(file));
    out.println(HEADER);
    out.flush();
  }

  synchronized void add(
      long timestamp, String operation, String step, long micros, long messages, long failed, long bytes) {
    out.println(
        timestamp + "," + operation + "," + quoted(step) + "," + micros + "," + messages + "," + failed + "," + bytes);
  }

  synchronized void flush() {
    out.flush();
  }

  /** True if a row could not be written, for example on a full disk. */
  synchronized boolean hasFailed() {
    return out.checkError();
  }

  @Override
  public synchronized void close() {
    out.close();
  }

  private static String quoted(String text) {
    boolean isPlain = text.chars().noneMatch(c -> c == ',' || c == '"' || c < ' ');
    return isPlain ? text : '"' + text.replace("\"", "\"\"") + '"';
  }
}
