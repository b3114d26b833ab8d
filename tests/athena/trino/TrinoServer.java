// Trino on Maven Central comes without a main class; this is it.
public class TrinoServer {
    public static void main(String[] args) {
        new io.trino.server.Server().start(args[0]);
    }
}
