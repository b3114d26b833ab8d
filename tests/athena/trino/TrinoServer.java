// Trino's jars on Maven Central have no main class, so this is the main class.
public class TrinoServer {
    public static void main(String[] args) {
        new io.trino.server.Server().start(args[0]);
    }
}
