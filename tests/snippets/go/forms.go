// The values that a Go program has for each argument, through pgx in each of its modes and through lib/pq. Each call
// writes one event.
package main

import (
	"context"
	"database/sql"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

const (
	call  = "SELECT outbox.publish('order', $1, 7, 'paid', $2, $3, $4, $5, $6)"
	total = `{"total": 120}`
	trace = `{"traceparent": "00-ab"}`
	id    = "00000000-0000-0000-0000-00000000002a"
)

// Without a cast: strings, bytes and NULL. They are what every driver here takes.
var forms = [][]any{
	{"a", total, nil, nil, nil, nil},
	{"42", []byte(total), trace, id, "elsewhere", "a.b"},
	{id, total, []byte(trace), nil, nil, "a.b"},
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func throughPgx(ctx context.Context, mode pgx.QueryExecMode) {
	connection, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	must(err)
	defer connection.Close(ctx)
	for _, values := range forms {
		_, err := connection.Exec(ctx, call, append([]any{mode}, values...)...)
		must(err)
	}
}

func throughSQL(driver, url string, typed bool) {
	database, err := sql.Open(driver, url)
	must(err)
	defer database.Close()
	for _, values := range forms {
		_, err := database.Exec(call, values...)
		must(err)
	}
	if typed {
		_, err = database.Exec("SELECT outbox.publish('order', $1, 7, 'paid', $2)", 42, total)
		must(err)
	}
}

func main() {
	url := os.Getenv("DATABASE_URL")
	switch os.Args[1] {
	case "pgx":
		ctx := context.Background()
		modes := []pgx.QueryExecMode{
			pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
			pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
		}
		for _, mode := range modes {
			throughPgx(ctx, mode)
		}
		throughSQL("pgx", url, false)
	case "pq":
		throughSQL("postgres", url, true)
		throughSQL("postgres", url+"?binary_parameters=yes", true)
	}
}
