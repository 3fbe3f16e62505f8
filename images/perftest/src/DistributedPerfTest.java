package com.rabbitmq.perf;

import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeoutException;

/** One worker of a distributed RabbitMQ PerfTest: runs its part of a spec file of PerfTestMulti. */
public final class DistributedPerfTest {

  private static final int USAGE = 64;
  private static final int NO_BROKER = 69;
  private static final int NO_MESSAGES = 70;
  private static final int INCOMPLETE = 71;
  private static final int NO_RESULTS = 73;
  private static final int FAILED = 74;

  private DistributedPerfTest() {}

  public static void main(String[] arguments) throws IOException {
    Log.configureLog();
    System.exit(exitCode(arguments));
  }

  private static int exitCode(String[] arguments) {
    try {
      return run(new Settings(System.getenv()), arguments);
    } catch (SpecException e) {
      return error(USAGE, e.getMessage());
    } catch (BrokerException e) {
      return error(NO_BROKER, e.getMessage());
    } catch (Meeting.IncompleteException e) {
      return error(INCOMPLETE, e.getMessage());
    } catch (ResultsException e) {
      return error(NO_RESULTS, e.getMessage());
    } catch (Exception e) {
      e.printStackTrace();
      return error(FAILED, "PerfTest failed: " + e);
    }
  }

  private static int run(Settings settings, String[] arguments) throws Exception {
    Part part = new Part(settings.share(), settings.isSplit(), settings.run());
    List<Step> steps = new ArrayList<>();
    for (Step step : Spec.steps(settings.spec(arguments))) {
      steps.add(part.of(settings.override(step)));
    }
    steps.forEach(Runner::check);
    say("worker " + (settings.share().index() + 1) + " of " + settings.share().count() + ", steps " + steps.size());
    try (Rows rows = open(settings);
        Connection connection = Broker.connect(steps.get(0).uri(), settings.patience())) {
      Meeting meeting = new Meeting(connection, settings.run(), settings.patience());
      return new Runner(Broker.factory(settings.patience()), meeting, rows, settings).run(steps) ? 0 : NO_MESSAGES;
    }
  }

  private static Rows open(Settings settings) {
    try {
      return new Rows(settings.results());
    } catch (IOException e) {
      throw new ResultsException("the result file cannot be written: " + e);
    }
  }

  static void say(String text) {
    System.out.println("atq: " + text);
  }

  private static int error(int code, String text) {
    System.err.println("atq: error: " + text);
    return code;
  }

  /** The result file cannot be written. */
  static final class ResultsException extends RuntimeException {
    ResultsException(String message) {
      super(message);
    }
  }

  /** The broker cannot be reached. */
  static final class BrokerException extends RuntimeException {
    BrokerException(String message) {
      super(message);
    }
  }

  /** Connections to the broker. */
  static final class Broker {

    private static final long RETRY_INTERVAL_MILLIS = 250;

    private Broker() {}

    static void use(ConnectionFactory factory, String uri) {
      try {
        factory.setUri(uri);
      } catch (Exception e) {
        // The address may contain a password.
        throw new SpecException("the `uri` of the broker is not valid: expected amqp://USER:PASSWORD@HOST:PORT/VHOST");
      }
    }

    static ConnectionFactory factory(Duration limit) {
      ConnectionFactory factory = new ConnectionFactory();
      factory.setExceptionHandler(new RelaxedExceptionHandler());
      factory.setChannelRpcTimeout((int) limit.toMillis());
      return factory;
    }

    static Connection connect(String uri, Duration limit) throws InterruptedException {
      ConnectionFactory factory = factory(limit);
      use(factory, uri);
      long deadline = System.nanoTime() + limit.toNanos();
      while (true) {
        try {
          return factory.newConnection("atq-meeting");
        } catch (IOException | TimeoutException e) {
          if (System.nanoTime() > deadline) {
            throw new BrokerException(
                "no connection to the broker at `" + factory.getHost() + ":" + factory.getPort()
                    + "` after " + limit.toSeconds() + " s: " + e);
          }
          Thread.sleep(RETRY_INTERVAL_MILLIS);
        }
      }
    }
  }
}
